"""What search does about what happens elsewhere, and about what is too old."""

from datetime import timedelta

from plinth.documents.v1 import document_pb2, events_pb2
from plinth.tenancy.v1 import events_pb2 as tenancy_pb2
from services.kernel.ids import new_id
from services.kernel.sequencer import Sequencer
from services.runtime import Runtime
from services.search.service.housekeeping import SWEEP
from services.search.service.maintenance import MAINTAIN
from services.search.service.purging import PURGE
from services.search.subscribers import job_handlers, subscriptions
from tests.projects.worker import attempt, working
from tests.search.library import Library
from tests.support.waiting import until

TABLES = ("indexes", "audiences", "documents", "chunks", "segments", "postings", "tombstones", "vocabulary")


def left(library: Library) -> list[str]:
    """The tables that hold something of the workspace."""
    return [table for table in (*TABLES, "staged_chunks", "early_changes") if library.rows(table, "1")]


class TestEvents:
    def test_are_followed_in_order(self, library: Library, runtime: Runtime, sequencer: Sequencer) -> None:
        changed, gone = new_id(), new_id()
        library.publish(["red fox"], changed)
        library.publish(["grey wolf"], gone)
        members = document_pb2.Visibility(kind=document_pb2.Visibility.KIND_MEMBERS, members=[f"users/{new_id()}"])
        name = library.name_of(changed)
        told = events_pb2.DocumentUpdated(document=name, display_name="Lease", tags=["late"], visibility=members)
        deleted = events_pb2.DocumentDeleted(document=library.name_of(gone), display_name="File")
        with library.acting(), library.services.units() as uow:
            uow.emit(name, told)
            uow.emit(deleted.document, deleted)
            uow.commit()
        with working(runtime, subscriptions(library.services)):
            until(lambda: not library.find("wolf"), "the deletion")
        assert list(library.find("fox", filter='tags:late AND display_name = "Lease"')) == ["red fox"]
        assert library.find("fox", audiences=[0]) == {}

    def test_of_a_purge_leave_nothing(self, library: Library, runtime: Runtime, sequencer: Sequencer) -> None:
        document = new_id()
        library.publish(["red fox"], document)
        library.publish(["grey wolf"], document, version=2, everyone=False, members=[f"users/{new_id()}"])
        library.stage(["white hare"], new_id())
        library.delete(new_id())
        assert len(left(library)) == len(TABLES) + 2
        with library.acting(), library.services.units() as uow:
            uow.emit(library.workspace, tenancy_pb2.WorkspacePurged(workspace=library.workspace))
            uow.commit()
        with working(runtime, subscriptions(library.services)):
            until(lambda: library.jobs(PURGE) == 1, "the purge")
        [handler] = [one for one in job_handlers(library.services) if one.kind == PURGE]
        attempt(handler, library.workspace_id, f"{library.workspace}/index")
        assert left(library) == ["indexes"]


class TestJobs:
    def test_look_after_the_index_that_they_name(self, library: Library) -> None:
        library.publish(["red fox"])
        library.rebuild()
        [handler] = [one for one in job_handlers(library.services) if one.kind == MAINTAIN]
        attempt(handler, library.workspace_id, f"{library.workspace}/index")
        assert library.rows("indexes", "rebuilding", "chunk_count") == [(False, 1)]


class TestSweep:
    def test_is_asked_of_one_worker(self, library: Library) -> None:
        for _ in range(2):
            library.services.housekeeping.ask()
        query = "select queue from jobs.jobs where kind = %s and state <> 'succeeded'"
        assert library.database.execute(query, [SWEEP]).fetchall() == [("index",)]
        library.stage(["red fox"], new_id())
        library.age("staged_chunks", "stage_time", timedelta(days=8))
        [handler] = [one for one in job_handlers(library.services) if one.kind == SWEEP]
        attempt(handler, library.workspace_id, "")
        assert left(library) == []

    def test_drops_what_nobody_published(self, library: Library) -> None:
        library.stage(["red fox"], new_id())
        library.delete(new_id())
        assert {"staged_chunks", "early_changes"} <= set(left(library))
        # The deletion is of noon in March.
        library.services.housekeeping.sweep(lambda: None)
        assert "staged_chunks" in left(library)
        assert "early_changes" not in left(library)
        library.age("staged_chunks", "stage_time", timedelta(days=8))
        library.services.housekeeping.sweep(lambda: None)
        assert left(library) == ["indexes"]
