"""Workspaces whose events are logged, and the use cases of events as a worker has them."""

from collections.abc import Iterator
from typing import Any

import grpc
import psycopg
import pytest

from plinth.identity.v1 import user_service_pb2_grpc
from plinth.tenancy.v1 import access_service_pb2_grpc
from services.events.service import EventsServices, build_events
from services.kernel.sequencer import Sequencer
from services.kernel.subscriptions import Subscription
from services.runtime import Runtime
from tests.events.office import Office
from tests.support.people import People


@pytest.fixture(scope="session")
def past_policies(owner_url: str) -> Iterator["psycopg.Connection[Any]"]:
    """The database as its owner sees it, past every policy."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def office(people: People, past_policies: "psycopg.Connection[Any]", sequencer: Sequencer) -> Office:
    """A new workspace with its owner."""
    owner = people.new("owner")
    return Office(people, owner, people.workspace_of(owner).name, past_policies)


@pytest.fixture
def other_office(people: People, past_policies: "psycopg.Connection[Any]", sequencer: Sequencer) -> Office:
    """Another one, of other people."""
    owner = people.new("stranger")
    return Office(people, owner, people.workspace_of(owner, "Rivals").name, past_policies)


@pytest.fixture
def subscriptions() -> list[Subscription[Any]]:
    """What a replay may name; a test fills it."""
    return []


@pytest.fixture
def services(runtime: Runtime, grpc_channel: grpc.Channel, subscriptions: list[Subscription[Any]]) -> EventsServices:
    """The use cases of events."""
    return build_events(
        runtime.resources,
        runtime.settings,
        runtime.keyring,
        runtime.pager,
        user_service_pb2_grpc.UserServiceStub(grpc_channel),
        access_service_pb2_grpc.AccessServiceStub(grpc_channel),
        lambda: subscriptions,
    )
