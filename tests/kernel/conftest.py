"""A database of the kernel tests' own, in the run's cluster: they move clocks and send all mail there is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from services.kernel.caller import Caller
from services.kernel.clock import FrozenClock
from services.kernel.db import Database, Session
from services.kernel.event_log import PostgresEventLog
from services.kernel.feed import InvalidationHub
from services.kernel.ids import new_id
from services.kernel.mail import Mailbox
from services.kernel.secrets import Keyring, MasterKey
from services.kernel.unit_of_work import Resources, Units
from services.mesh.postgres import EmbeddedPostgres
from tests.support.acting import acting
from tests.support.databases import own_database, with_database
from tests.support.event_log import sequencing
from tests.support.waiting import until

Owner = psycopg.Connection[DictRow]


@pytest.fixture(scope="session")
def kernel_name(owner_url: str) -> Iterator[str]:
    """The name of a migrated database that only this worker uses."""
    with own_database(owner_url, "kernel") as name:
        yield name


@pytest.fixture(scope="session")
def kernel_owner_url(owner_url: str, kernel_name: str) -> str:
    return with_database(owner_url, kernel_name)


@pytest.fixture(scope="session")
def kernel_url(app_url: str, kernel_name: str) -> str:
    return with_database(app_url, kernel_name)


@pytest.fixture(scope="session")
def database(kernel_url: str) -> Iterator[Database]:
    """The app's pool on it."""
    opened = Database(kernel_url, pool_size=8)
    yield opened
    opened.close()


@pytest.fixture
def owner(kernel_owner_url: str) -> Iterator[Owner]:
    """Past every policy, to see what is really there."""
    with psycopg.connect(kernel_owner_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return Keyring([MasterKey("test", bytes(range(32)))])


@pytest.fixture
def hub() -> InvalidationHub:
    return InvalidationHub()


@pytest.fixture
def resources(database: Database, clock: FrozenClock, hub: InvalidationHub, keyring: Keyring) -> Resources:
    return Resources(database, clock, hub, Mailbox(keyring))


@pytest.fixture
def units(resources: Resources) -> Units[Session]:
    """Units of work of the domain tenancy, whose repository is the bare session."""
    return Units(resources, "tenancy", lambda session: session)


@pytest.fixture
def caller() -> Iterator[Caller]:
    """Somebody in a workspace of their own, on whose behalf the test acts."""
    somebody = Caller(
        user_id=new_id(),
        session_id=new_id(),
        workspace_id=new_id(),
        source="203.0.113.9",
        user_agent="pytest",
        request_id="request-1",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    with acting(somebody):
        yield somebody


@pytest.fixture
def source(database: Database) -> Iterator[PostgresEventLog]:
    """The event log, and a connection that hears of what comes."""
    log = PostgresEventLog(database, database.connect)
    yield log
    log.close()


def settled(owner: Owner) -> bool:
    """Whether all that was committed is in the log."""
    return not owner.execute("select 1 from kernel.outbox limit 1").fetchall()


@pytest.fixture
def head(database: Database, source: PostgresEventLog, owner: Owner) -> int:
    """Where the test's own events begin: after all that other tests left. Whoever led until then leads no more."""
    with sequencing(database):
        until(lambda: settled(owner), "an empty outbox")
    return source.head()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A cluster that the test may stop, or strip of its roles."""
    with EmbeddedPostgres(tmp_path / "postgres", fast=True, database="plinth") as postgres:
        yield postgres
