"""Identity alone, on a database and a clock of its own."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import grpc
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from plinth.tenancy.v1 import member_service_pb2_grpc
from services.identity.service import build_identity
from services.kernel import migrations
from services.kernel.clock import FrozenClock
from services.kernel.config import Settings
from services.kernel.db import Database
from services.kernel.feed import InvalidationHub
from services.kernel.mail import Mailbox
from services.kernel.paging import Pager
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Resources
from tests.identity.island import Island

# Roles belong to the cluster: one migration at a time may touch them. tests/kernel takes the same lock.
_MIGRATING = 0x6B65726E


def _on(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()


@pytest.fixture(scope="session")
def island_urls(owner_url: str, app_url: str) -> Iterator[tuple[str, str]]:
    """A database that no server works on, as its owner and as the app."""
    name = f"identity_{secrets.token_hex(4)}"
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(SQL("create database {}").format(Identifier(name)))
        connection.execute("select pg_advisory_lock(%s)", [_MIGRATING])
        migrations.migrate(_on(owner_url, name))
        connection.execute("select pg_advisory_unlock(%s)", [_MIGRATING])
        yield _on(owner_url, name), _on(app_url, name)
        connection.execute(SQL("drop database {} with (force)").format(Identifier(name)))


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
