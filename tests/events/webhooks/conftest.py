"""Webhooks on a database of their own, in the run's cluster, at the pace of a clock of the test's own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from plinth.identity.v1 import user_pb2, user_service_pb2
from plinth.tenancy.v1 import access_pb2, access_service_pb2
from services.events.repository import EventsRepositories
from services.events.webhooks.build import build_webhooks
from services.events.webhooks.secrets import Secrets
from services.kernel.clock import FrozenClock
from services.kernel.config import Settings
from services.kernel.db import Database
from services.kernel.feed import InvalidationHub
from services.kernel.mail import Mailbox
from services.kernel.secrets import Keyring, MasterKey
from services.kernel.unit_of_work import Resources, Units
from tests.events.webhooks.desk import Desk
from tests.events.webhooks.receivers import Receiver, answering, receiver
from tests.support.databases import own_database, with_database
from tests.support.settings import settings_for_tests


class Directory:
    """Identity and tenancy as notices ask them. Everybody is `owner@example.com` and manages webhooks, until told."""

    def __init__(self) -> None:
        self.permissions = ["webhooks.manage"]
        self.email_verified = True

    def GetUser(self, request: user_service_pb2.GetUserRequest) -> user_service_pb2.GetUserResponse:
        user = user_pb2.User(name=request.name, email="owner@example.com", email_verified=self.email_verified)
        return user_service_pb2.GetUserResponse(user=user)

    def GetGrant(self, request: access_service_pb2.GetGrantRequest) -> access_service_pb2.GetGrantResponse:
        grant = access_pb2.Grant(workspace=request.workspace, user=request.user, permissions=self.permissions)
        return access_service_pb2.GetGrantResponse(grant=grant)


@pytest.fixture(scope="session")
def webhooks_name(owner_url: str) -> Iterator[str]:
    """The name of a migrated database that only this process uses: whoever works elsewhere leaves its jobs alone."""
    with own_database(owner_url, "webhooks") as name:
        yield name


@pytest.fixture(scope="session")
def database(app_url: str, webhooks_name: str) -> Iterator[Database]:
    """The app's pool on it."""
    opened = Database(with_database(app_url, webhooks_name), pool_size=8)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def owner(owner_url: str, webhooks_name: str) -> Iterator["psycopg.Connection[Any]"]:
    """The database past every policy."""
    with psycopg.connect(with_database(owner_url, webhooks_name), autocommit=True) as connection:
        yield connection


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return Keyring([MasterKey("test", bytes(range(32)))])


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def mailbox(keyring: Keyring) -> Mailbox:
    return Mailbox(keyring)


@pytest.fixture(scope="session")
def webhook_settings() -> Settings:
    """Webhooks may go to this machine."""
    return settings_for_tests("", webhook_allow="127.0.0.1", webhook_allow_http=True)


@pytest.fixture
def desk(
    database: Database,
    owner: "psycopg.Connection[Any]",
    clock: FrozenClock,
    keyring: Keyring,
    mailbox: Mailbox,
    directory: Directory,
    webhook_settings: Settings,
) -> Desk:
    """A new workspace."""
    units = Units(Resources(database, clock, InvalidationHub(), mailbox), "events", EventsRepositories)
    secrets = Secrets(keyring)
    webhooks = build_webhooks(units, clock, webhook_settings, secrets, directory, directory)  # type: ignore[arg-type]  # it answers what is asked
    return Desk(units, clock, secrets, webhooks, owner)


@pytest.fixture
def there() -> Iterator[Receiver]:
    """A receiver that says 200, until the test gives it other manners."""
    with receiver(answering("200 OK")) as listening:
        yield listening
