"""Workspaces to test on."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from plinth.tenancy.v1 import access_service_pb2_grpc
from services.kernel.sequencer import Sequencer
from services.projects.service import ProjectsServices, build_projects
from services.runtime import Runtime
from services.wiring import Mesh
from tests.projects.board import Board
from tests.support.people import People
from tests.tenancy.team import Team


@pytest.fixture(scope="session")
def owner_database(owner_url: str) -> Iterator["psycopg.Connection[Any]"]:
    """The database as its owner sees it, past every policy."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def services(runtime: Runtime, mesh: Mesh) -> ProjectsServices:
    """The use cases, as a worker has them."""
    access = access_service_pb2_grpc.AccessServiceStub(mesh.channel("projects", "tenancy"))
    return build_projects(runtime.resources, runtime.pager, access)


@pytest.fixture
def board(people: People, owner_database: "psycopg.Connection[Any]", sequencer: Sequencer) -> Board:
    """A new workspace with its owner."""
    owner = people.new("owner")
    return Board(Team(people, owner, people.workspace_of(owner).name, owner_database))


@pytest.fixture
def other_board(people: People, owner_database: "psycopg.Connection[Any]", sequencer: Sequencer) -> Board:
    """Another one, of other people."""
    owner = people.new("stranger")
    return Board(Team(people, owner, people.workspace_of(owner, "Rivals").name, owner_database))
