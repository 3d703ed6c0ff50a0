"""Workspaces with documents to test on."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from services.documents.blobs.build import store_of
from services.documents.blobs.port import BlobStore
from services.documents.service import DocumentsServices, build_documents
from services.kernel.caller import Caller, Grant
from services.runtime import Runtime
from tests.documents.shelf import Shelf
from tests.support.acting import acting
from tests.support.people import People
from tests.tenancy.team import Team


@pytest.fixture(scope="session")
def owner_database(owner_url: str) -> Iterator["psycopg.Connection[Any]"]:
    """The database as its owner sees it, past every policy."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def store(runtime: Runtime) -> BlobStore:
    """Where the blobs of the run lie."""
    return store_of(runtime.settings, runtime.keyring)


@pytest.fixture(scope="session")
def services(runtime: Runtime, store: BlobStore) -> DocumentsServices:
    """The use cases, as a worker has them."""
    return build_documents(runtime.resources, runtime.settings, runtime.pager, store)


@pytest.fixture
def shelf(people: People, owner_database: "psycopg.Connection[Any]", store: BlobStore) -> Shelf:
    """A new workspace with its owner."""
    owner = people.new("owner")
    return Shelf(Team(people, owner, people.workspace_of(owner).name, owner_database), store)


@pytest.fixture
def other_shelf(people: People, owner_database: "psycopg.Connection[Any]", store: BlobStore) -> Shelf:
    """Another one, of other people."""
    owner = people.new("stranger")
    return Shelf(Team(people, owner, people.workspace_of(owner, "Rivals").name, owner_database), store)


@pytest.fixture
def as_owner(shelf: Shelf) -> Iterator[None]:
    """What the test does itself it does as the owner."""
    owner, workspace_id = shelf.owner.user_id, shelf.workspace_id
    grant = Grant(workspace_id, owner, "owner", frozenset())
    with acting(Caller(user_id=owner, workspace_id=workspace_id, grant=grant)):
        yield
