"""What workers do besides: take turns between workspaces, and stop."""

from contextlib import ExitStack
from dataclasses import replace

import pytest

from services.documents.model.names import INGESTION
from services.documents.service import DocumentsServices, ingestion_lifecycle
from services.kernel.caller import Caller
from services.runtime import Runtime
from services.wiring import Mesh
from services.worker import working
from tests.documents.ingestion.workspace import IngestionWorkspace, State, long_file, stopped_parser, stopped_parsers
from tests.documents.shelf import text
from tests.support.acting import acting
from tests.support.waiting import until, until_gone

pytestmark = [pytest.mark.xdist_group("ingestion"), pytest.mark.usefixtures("idle")]

_COPY = (
    """
    insert into documents.documents select (jsonb_populate_record(one, jsonb_build_object(
        'document_id', id, 'ingestion_id', id, 'display_name', id))).*
    from documents.documents one, generate_series(1, %s) n, cast(md5(n || one.workspace_id::text) as uuid) id
    where workspace_id = %s
    """,
    """
    insert into documents.versions select (jsonb_populate_record(one, jsonb_build_object('document_id', id))).*
    from documents.versions one, generate_series(1, %s) n, cast(md5(n || one.workspace_id::text) as uuid) id
    where workspace_id = %s
    """,
    """
    insert into documents.ingestions select (jsonb_populate_record(one, jsonb_build_object(
        'document_id', id, 'ingestion_id', id))).*
    from documents.ingestions one, generate_series(1, %s) n, cast(md5(n || one.workspace_id::text) as uuid) id
    where workspace_id = %s
    """,
)


def test_a_worker_that_stops_gives_back_what_it_is_at(works: IngestionWorkspace, runtime: Runtime, mesh: Mesh) -> None:
    document = works.shelf.create(long_file())
    with ExitStack() as stack:
        with working(runtime, mesh, ["ingest"]):
            pid = stack.enter_context(stopped_parser())
        until_gone([pid])
    until(lambda: works.attempts(document) == 0, "the attempt to be let go")
    with working(runtime, mesh, ["ingest"]):
        until(lambda: works.attempts(document) == 1, "another one")
        works.cancel(document.ingestion)
    assert [one.number for one in works.get(document.ingestion).attempts] == [1]


def test_slow_files_of_one_do_not_hold_up_the_one_of_another(
    works: IngestionWorkspace, other_works: IngestionWorkspace, runtime: Runtime, mesh: Mesh
) -> None:
    slow = [works.shelf.create(long_file()) for _ in range(4)]
    with working(runtime, mesh, ["ingest"]), stopped_parsers(runtime.settings.ingest_parsers):
        assert other_works.ended(other_works.shelf.create(text())).state == State.INGESTION_STATE_INDEXED
        # The two that no parser is at have not begun.
        assert sorted(map(works.attempts, slow)) == [0, 0, 1, 1]
        for document in slow:
            works.cancel(document.ingestion)


def test_five_thousand_files_of_one_do_not_hold_up_the_one_of_another(
    works: IngestionWorkspace,
    other_works: IngestionWorkspace,
    services: DocumentsServices,
    runtime: Runtime,
    mesh: Mesh,
) -> None:
    ingest_many(works, services, 5_000)
    one = other_works.shelf.create(text())
    with working(runtime, mesh, ["ingest"]):
        assert other_works.ended(one).state == State.INGESTION_STATE_INDEXED
        [(left,)] = works.shelf.team.database.execute(
            "select count(*) from documents.ingestions where workspace_id = %s and end_time is null",
            [works.shelf.workspace_id],
        )
    works.shelf.team.database.execute("delete from jobs.jobs where workspace_id = %s", [works.shelf.workspace_id])
    works.shelf.end_ingestions()
    assert left > 4_900


def test_who_no_longer_wants_a_file_that_waits_for_a_parser_has_it_begun_by_nobody(
    works: IngestionWorkspace, runtime: Runtime, mesh: Mesh
) -> None:
    slow = [works.shelf.create(long_file()) for _ in range(runtime.settings.ingest_parsers)]
    with working(runtime, mesh, ["ingest"]):
        with stopped_parsers(len(slow)):
            waiting = works.shelf.create(text())
            until(lambda: works.running(waiting), "its job to wait for a parser")
            assert works.cancel(waiting.ingestion).state == State.INGESTION_STATE_CANCELLED
            until(lambda: not works.running(waiting), "its job to end")
        for document in slow:
            works.cancel(document.ingestion)
    assert works.attempts(waiting) == 0


def ingest_many(works: IngestionWorkspace, services: DocumentsServices, count: int) -> None:
    """As if somebody had uploaded so many, which would take minutes: copies of one, and a job for each."""
    document = works.shelf.create(text())
    workspace_id, ingestion_id = INGESTION.ids(document.ingestion)
    for statement in _COPY:
        works.shelf.team.database.execute(statement, [count, workspace_id])
    found = works.shelf.team.database.execute(
        "select ingestion_id from documents.ingestions where workspace_id = %s", [workspace_id]
    )
    with acting(Caller(service="documents", workspace_id=workspace_id)), services.units() as uow:
        some = uow.repo.ingestions.get(workspace_id, ingestion_id)
        assert some is not None
        uow.enqueue_all([ingestion_lifecycle.job_of(replace(some, ingestion_id=one)) for (one,) in found])
        uow.commit()
