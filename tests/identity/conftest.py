"""Identity alone, on a database and a clock of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import psycopg
import pytest

from plinth.tenancy.v1 import member_service_pb2_grpc
from services.identity.service import build_identity
from services.kernel.clock import FrozenClock
from services.kernel.config import Settings
from services.kernel.db import Database
from services.kernel.feed import InvalidationHub
from services.kernel.mail import Mailbox
from services.kernel.paging import Pager
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Resources
from tests.identity.island import Island
from tests.support.databases import own_database, with_database


@pytest.fixture(scope="session")
def island_urls(owner_url: str, app_url: str) -> Iterator[tuple[str, str]]:
    """A database that no server works on, as its owner and as the app."""
    with own_database(owner_url, "identity") as name:
        yield with_database(owner_url, name), with_database(app_url, name)


@pytest.fixture(scope="session")
def island_database(island_urls: tuple[str, str]) -> Iterator[Database]:
    """The app's connections to it."""
    database = Database(island_urls[1], pool_size=8)
    yield database
    database.close()


@pytest.fixture(scope="session")
def island_owner(island_urls: tuple[str, str]) -> Iterator["psycopg.Connection[Any]"]:
    """The owner's connection to it, past every policy."""
    with psycopg.connect(island_urls[0], autocommit=True) as connection:
        yield connection


@pytest.fixture
def keyring(settings: Settings) -> Keyring:
    """The master keys of the tests."""
    return Keyring.parse(settings.master_keys.get_secret_value())


@pytest.fixture
def island(
    island_database: Database, island_owner: "psycopg.Connection[Any]", settings: Settings, keyring: Keyring
) -> Iterator[Island]:
    """Identity, and a clock that stands still until told otherwise."""
    clock, hub, mailbox = FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC)), InvalidationHub(), Mailbox(keyring)
    # What another test left behind, at another time, would only confuse.
    island_owner.execute("delete from identity.signing_keys")
    island_owner.execute("delete from identity.throttles")
    # Nobody deletes a user here, so tenancy is never called.
    with grpc.insecure_channel("127.0.0.1:1") as nowhere:
        services = build_identity(
            Resources(island_database, clock, hub, mailbox),
            # The island is called by as many threads as a test likes, whatever the server has.
            settings.model_copy(update={"threads": 24}),
            keyring,
            Pager(keyring.derive("page tokens")),
            member_service_pb2_grpc.MemberServiceStub(nowhere),
        )
        yield Island(services, clock, island_database, hub, mailbox, island_owner)
