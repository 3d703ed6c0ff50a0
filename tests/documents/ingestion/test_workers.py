"""What workers do besides: take turns between workspaces, and stop."""

from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from services.runtime import Runtime
from services.wiring import Mesh
from services.worker import working
from tests.documents.ingestion.conftest import new_works
from tests.documents.ingestion.works import State, Works, long_file, stopped_parser
from tests.documents.shelf import text
from tests.support.people import People
from tests.support.waiting import until, until_gone

pytestmark = [pytest.mark.xdist_group("ingestion")]


def test_a_worker_that_stops_gives_back_what_it_is_at(works: Works, runtime: Runtime, mesh: Mesh) -> None:
    document = works.shelf.create(long_file())
    with ExitStack() as stack:
        with working(runtime, mesh, ["ingest"]):
            pid = stack.enter_context(stopped_parser())
        until_gone([pid])
    until(lambda: works.attempts(document) == 0, "the attempt to be let go")
    with working(runtime, mesh, ["ingest"]):
        assert [one.number for one in works.ended(document).attempts] == [1]


def test_many_files_of_one_do_not_hold_up_the_one_of_another(
    works: Works, people: People, owner_database: "psycopg.Connection[Any]", runtime: Runtime, mesh: Mesh
) -> None:
    many = [works.shelf.create(text()) for _ in range(40)]
    other = new_works(people, owner_database, runtime, mesh)
    one = other.shelf.create(text())
    with working(runtime, mesh, ["ingest"]):
        other.ended(one)
        left = sum(works.get(document.ingestion).state != State.INGESTION_STATE_INDEXED for document in many)
    assert left > 20
