"""Indexes to test on."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import psycopg
import pytest

from services.runtime import Runtime
from services.search.service import SearchServices, build_search
from tests.search.archive import Archive, workspace_id_of
from tests.search.embedders.provider import Provider, running
from tests.search.library import Library
from tests.support.people import People
from tests.support.stubs import Stubs, with_token
from tests.tenancy.team import Team


@pytest.fixture(scope="session")
def owner_database(owner_url: str) -> Iterator["psycopg.Connection[Any]"]:
    """The database as its owner sees it, past every policy."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def services(runtime: Runtime) -> SearchServices:
    """The use cases, as a worker has them."""
    return build_search(runtime.resources, runtime.settings)


@pytest.fixture(scope="session")
def new_library(
    runtime: Runtime, grpc_channel: grpc.Channel, services: SearchServices, owner_database: "psycopg.Connection[Any]"
) -> Callable[[], Library]:
    """Makes workspaces with an empty index."""

    def new() -> Library:
        # A service's token lives for minutes only.
        return Library(Stubs(with_token(grpc_channel, runtime.tokens.issue("documents"))), services, owner_database)

    return new


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider of embeddings."""
    with running() as provider:
        yield provider


@pytest.fixture
def library(new_library: Callable[[], Library]) -> Library:
    """A workspace with an empty index."""
    return new_library()


@pytest.fixture(scope="session")
def new_archive(
    people: People, new_library: Callable[[], Library], owner_database: "psycopg.Connection[Any]"
) -> Callable[[], Archive]:
    """Makes workspaces of people, without documents."""

    def new() -> Archive:
        owner = people.new("owner")
        team = Team(people, owner, people.workspace_of(owner).name, owner_database)
        return Archive(team, replace(new_library(), workspace_id=workspace_id_of(team.workspace)))

    return new


@pytest.fixture
def archive(new_archive: Callable[[], Archive]) -> Archive:
    """A workspace without documents, and its people."""
    return new_archive()
