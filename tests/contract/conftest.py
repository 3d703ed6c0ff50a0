"""Every method of the contract, against the worker's real server and a real streams process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest

from services.kernel.config import Settings
from services.kernel.sequencer import Sequencer
from services.runtime import Runtime
from services.wiring import Mesh
from tests.contract.calls import Client
from tests.contract.crowd import Crowd
from tests.contract.factories import Scene, new_scene
from tests.contract.requests import Contract
from tests.contract.rows import Rows
from tests.projects.worker import working
from tests.support.people import People
from tests.support.streams import running_streams


@pytest.fixture(scope="session")
def streams_channel(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """A channel to a streams process on the run's database."""
    folder: Path = tmp_path_factory.mktemp("streams")
    with running_streams(settings, folder) as address, grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture(scope="session", autouse=True)
def _events_are_logged(sequencer: Sequencer, runtime: Runtime, mesh: Mesh) -> Iterator[None]:
    """What happens is in the event log soon after, and what was done to projects in their activity."""
    with working(runtime, [one for one in mesh.subscriptions if one.name == "projects.activity"]):
        yield


@pytest.fixture(scope="session")
def client(grpc_channel: grpc.Channel, request: pytest.FixtureRequest) -> Client:
    """Calls any method; the streams process starts when the first test needs it."""
    return Client(grpc_channel, lambda: request.getfixturevalue("streams_channel"))


@pytest.fixture(scope="session")
def contract(client: Client, people: People, runtime: Runtime) -> Contract:
    """Prepares and makes calls of any method."""
    return Contract(client, people, runtime)


@pytest.fixture(scope="session")
def rows(owner_url: str) -> Iterator[Rows]:
    """What is really in the database."""
    connection: psycopg.Connection[Any]
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield Rows(connection)


@pytest.fixture(scope="session")
def home(people: People) -> Scene:
    """A workspace whose owner knocks on the doors of others."""
    return new_scene(people)


@pytest.fixture(scope="session")
def stranger_key(home: Scene) -> str:
    """A key of that workspace that may do whatever its owner may."""
    return Crowd(home).full_key()
