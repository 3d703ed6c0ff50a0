"""Workspaces to test on."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.people import People
from tests.tenancy.team import Team


@pytest.fixture(scope="session")
def owner_database(owner_url: str) -> Iterator["psycopg.Connection[Any]"]:
    """The database as its owner sees it, past every policy."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def team(people: People, owner_database: "psycopg.Connection[Any]") -> Team:
    """A new workspace with its owner."""
    owner = people.new("owner")
    return Team(people, owner, people.workspace_of(owner).name, owner_database)


@pytest.fixture
def other_team(people: People, owner_database: "psycopg.Connection[Any]") -> Team:
    """Another one, of other people."""
    owner = people.new("stranger")
    return Team(people, owner, people.workspace_of(owner, "Rivals").name, owner_database)
