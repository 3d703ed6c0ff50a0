"""One real PostgreSQL for the whole run; a real server with the real chain for each worker."""

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import hypothesis
import pytest

from services.kernel import migrations
from services.kernel.config import Settings
from services.kernel.db import Scope
from services.kernel.partitions import Partitions
from services.kernel.sequencer import Sequencer
from services.mesh.postgres import EmbeddedPostgres
from services.mesh.supervisor import Supervisor
from services.runtime import Runtime, open_runtime
from services.serve import Server
from services.wiring import ALL_DOMAINS, Mesh
from tests.support.apart import domains_apart, routed
from tests.support.people import People, ReadMail
from tests.support.settings import ENVIRONMENT, settings_for_tests

# How long an example takes says nothing where other tests share the machine.
hypothesis.settings.register_profile("shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared")

_database_key = pytest.StashKey[tuple[EmbeddedPostgres, "tempfile.TemporaryDirectory[str]"]]()
OWNER_URL = "PLINTH_TEST_OWNER_URL"
APP_URL = "PLINTH_TEST_APP_URL"
BLOB_URL = "PLINTH_TEST_BLOB_URL"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How the servers under test are laid out; whatever the layout, the same tests pass."""
    parser.addoption("--apart", action="store_true", help="each domain in a process of its own")
    parser.addoption("--threads", type=int, default=0, help="threads of each server; 0: as many as in production")


def pytest_sessionstart(session: pytest.Session) -> None:
    """The run's database, started once: by the controller, whose environment the workers inherit."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    folder = tempfile.TemporaryDirectory(prefix="plinth-tests-")
    postgres = EmbeddedPostgres(
        Path(folder.name) / "postgres", fast=True, settings={"max_connections": "400"}, database="plinth"
    )
    postgres.start()
    session.config.stash[_database_key] = postgres, folder
    migrations.migrate(postgres.url())
    os.environ[OWNER_URL] = postgres.url()
    os.environ[APP_URL] = postgres.url("plinth_app")
    os.environ[BLOB_URL] = (Path(folder.name) / "blobs").as_uri()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop what `pytest_sessionstart` began."""
    if _database_key in session.config.stash:
        postgres, folder = session.config.stash[_database_key]
        postgres.stop()
        folder.cleanup()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each group on one worker: xdist 3.8 writes the group into `_nodeid`, which pytest 9.2 no longer reads."""
    for item in items:
        grouped = vars(item).get("_nodeid")
        if grouped is not None and hasattr(item, "_id"):
            item._id = type(item._id).parse(grouped)


@pytest.fixture(scope="session")
def owner_url() -> str:
    """The run's database, as its owner: past every policy, to look at what is really there."""
    return os.environ[OWNER_URL]


@pytest.fixture(scope="session")
def app_url() -> str:
    """The run's database, as the app."""
    return os.environ[APP_URL]


@pytest.fixture(scope="session")
def settings(app_url: str, request: pytest.FixtureRequest) -> Settings:
    """Settings of the worker's server: cheap hashes, wide rate limits."""
    threads = request.config.getoption("--threads")
    return settings_for_tests(
        database_url=app_url, blob_url=os.environ[BLOB_URL], **({"threads": threads} if threads else {})
    )


@pytest.fixture(scope="session")
def runtime(settings: Settings) -> Iterator[Runtime]:
    """The parts of the worker's server process."""
    with open_runtime(settings, "test") as opened:
        yield opened


@pytest.fixture(scope="session")
def sequencer(runtime: Runtime) -> Iterator[Sequencer]:
    """Moves what is committed to the event log, as the mesh's worker does; one of the run's workers is elected."""
    partitions = Partitions(runtime.database.connect, runtime.clock, retention=timedelta(days=30))
    running = Sequencer(runtime.database.connect, runtime.clock, ensure=partitions.ensure)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def mesh(runtime: Runtime) -> Iterator[Mesh]:
    """All domains, wired as in the server process."""
    with Mesh(runtime, ALL_DOMAINS) as built:
        yield built


@pytest.fixture(scope="session")
def _grpc_server(runtime: Runtime, mesh: Mesh) -> Iterator[Server]:
    """The server of this worker. pytest-grpc's own would have one thread and no chain."""
    server = Server(runtime, mesh, "127.0.0.1:0")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def grpc_server(_grpc_server: Server) -> Server:
    """Every domain is registered already, so there is nothing to add."""
    return _grpc_server


@pytest.fixture(scope="session")
def grpc_addr(grpc_server: Server) -> str:
    """Bound to port 0 and read back: pytest-grpc picks a port without keeping it."""
    return f"127.0.0.1:{grpc_server.port}"


@pytest.fixture(scope="session")
def apart(
    request: pytest.FixtureRequest, settings: Settings, app_url: str, owner_url: str
) -> Iterator[Supervisor | None]:
    """The processes of the domains, under `--apart`."""
    if not request.config.getoption("--apart"):
        yield None
        return
    environment = ENVIRONMENT | {
        "PLINTH_THREADS": str(settings.threads),
        "PLINTH_PUBLIC_URL": settings.public_url,
        "PLINTH_BLOB_URL": settings.blob_url,
    }
    with domains_apart(app_url, owner_url, environment) as layout:
        yield layout


@pytest.fixture(scope="session")
def grpc_channel(grpc_create_channel: Callable[..., grpc.Channel], apart: Supervisor | None) -> Iterator[grpc.Channel]:
    """A channel that nobody is signed in on."""
    with routed(apart) if apart is not None else grpc_create_channel() as channel:
        yield channel


@pytest.fixture(scope="session")
def grpc_create_channel(grpc_addr: str) -> Callable[..., grpc.Channel]:
    """Opens channels to the worker's server."""

    def create(credentials: grpc.ChannelCredentials | None = None, options: Any = None) -> grpc.Channel:
        assert credentials is None, "the test server is on loopback, without TLS"
        return grpc.insecure_channel(grpc_addr, options)

    return create


@pytest.fixture(scope="session")
def read_mail(runtime: Runtime) -> ReadMail:
    """The texts that an address was sent, the newest first."""

    def read(email: str) -> list[str]:
        with runtime.database.transaction(Scope("plinth_kernel")) as session:
            stored = runtime.mailbox.latest(session, 50, email)
        return [runtime.mailbox.text(mail) for mail in stored]

    return read


@pytest.fixture(scope="session")
def people(grpc_channel: grpc.Channel, read_mail: ReadMail) -> People:
    """Makes people on the worker's server."""
    return People(grpc_channel, read_mail)
