"""A mesh with a worker on a database of its own: whoever works elsewhere leaves its jobs alone."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import psycopg
import pytest

from services.documents.blobs.build import store_of
from services.documents.service import DocumentsServices, build_documents
from services.kernel.config import Settings
from services.kernel.db import Scope
from services.runtime import Runtime, open_runtime
from services.serve import Server
from services.wiring import ALL_DOMAINS, Mesh
from services.worker import working
from tests.documents.ingestion.workspace import IngestionWorkspace
from tests.documents.shelf import Shelf
from tests.support.databases import own_database, with_database
from tests.support.people import People
from tests.support.settings import settings_for_tests
from tests.tenancy.team import Team


@pytest.fixture(scope="session")
def database_name(owner_url: str) -> Iterator[str]:
    """The name of a migrated database that only this process uses."""
    with own_database(owner_url, "ingestion") as name:
        yield name


@pytest.fixture(scope="session")
def owner_database(owner_url: str, database_name: str) -> Iterator["psycopg.Connection[Any]"]:
    """The database as its owner sees it, past every policy."""
    with psycopg.connect(with_database(owner_url, database_name), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def settings(app_url: str, database_name: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A failed ingestion is tried again at once."""
    return settings_for_tests(
        with_database(app_url, database_name),
        blob_url=tmp_path_factory.mktemp("blobs").as_uri(),
        ingest_retry_seconds=0.002,
        worker_threads=12,
        drain_seconds=0.2,
    )


@pytest.fixture(scope="session")
def runtime(settings: Settings) -> Iterator[Runtime]:
    """The parts of the process."""
    with open_runtime(settings, "test") as opened:
        yield opened


@pytest.fixture(scope="session")
def mesh(runtime: Runtime) -> Iterator[Mesh]:
    """All domains, wired as in the server process, and in the worker."""
    with Mesh(runtime, ALL_DOMAINS) as built:
        yield built


@pytest.fixture(scope="session")
def services(runtime: Runtime) -> DocumentsServices:
    """The use cases, as the streams process has them."""
    return build_documents(
        runtime.resources, runtime.settings, runtime.pager, store_of(runtime.settings, runtime.keyring)
    )


@pytest.fixture(scope="session")
def people(runtime: Runtime, mesh: Mesh) -> Iterator[People]:
    """Makes people on a server of that mesh."""
    with served(runtime, mesh) as people:
        yield people


@pytest.fixture
def make_works(
    people: People, owner_database: "psycopg.Connection[Any]", runtime: Runtime, mesh: Mesh
) -> Iterator[Callable[[], IngestionWorkspace]]:
    """Makes workspaces where nobody works yet, nor any more afterwards: so the next test meets its own parsers."""
    made: list[IngestionWorkspace] = []

    def make() -> IngestionWorkspace:
        made.append(new_works(people, owner_database, runtime, mesh))
        return made[-1]

    yield make
    for works in made:
        works.shelf.end_ingestions()
    for works in made:
        works.wait_until_idle()


@pytest.fixture
def works(make_works: Callable[[], IngestionWorkspace]) -> IngestionWorkspace:
    """A new workspace."""
    return make_works()


@pytest.fixture
def other_works(make_works: Callable[[], IngestionWorkspace]) -> IngestionWorkspace:
    """A new workspace of other people."""
    return make_works()


@pytest.fixture(scope="module")
def worker(runtime: Runtime, mesh: Mesh) -> Iterator[None]:
    """All that a worker does, meanwhile."""
    with working(runtime, mesh, ["ingest"]):
        yield


@pytest.fixture
def idle(owner_database: "psycopg.Connection[Any]") -> None:
    """Whoever works from now on finds nothing that other tests have left."""
    owner_database.execute("delete from jobs.jobs where queue = 'ingest'")


@contextmanager
def served(runtime: Runtime, mesh: Mesh) -> Iterator[People]:
    """Makes people on a server of a mesh."""

    def read_mail(email: str) -> list[str]:
        with runtime.database.transaction(Scope("plinth_kernel")) as session:
            stored = runtime.mailbox.latest(session, 50, email)
        return [runtime.mailbox.text(mail) for mail in stored]

    with ExitStack() as stack:
        server = Server(runtime, mesh, "127.0.0.1:0")
        server.start()
        stack.callback(server.stop)
        yield People(stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.port}")), read_mail)


def new_works(people: People, database: "psycopg.Connection[Any]", runtime: Runtime, mesh: Mesh) -> IngestionWorkspace:
    """A new workspace of new people."""
    owner = people.new("owner")
    team = Team(people, owner, people.workspace_of(owner).name, database)
    return IngestionWorkspace(Shelf(team, store_of(runtime.settings, runtime.keyring)), mesh)
