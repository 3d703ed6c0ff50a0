"""What is deleted bit by bit: all of a purged workspace, and a log of queries that nobody wants any more."""

from datetime import timedelta

import grpc
import pytest

from services.kernel.etags import etag_of
from services.kernel.ids import new_id
from services.kernel.jobs import Check
from services.search.errors import IndexPurged
from services.search.model.index import IndexPatch
from services.search.service import housekeeping, purging
from services.search.service.purging import FORGET_QUERIES, PURGE
from tests.search.checks import killed_after
from tests.search.library import SHOWN, Library
from tests.support.errors import refused

CODE = grpc.StatusCode
TABLES = (
    *("indexes", "audiences", "documents", "chunks", "removed_chunks", "recounts", "segments", "staged_segments"),
    *("postings", "tombstones", "vocabulary", "staged_chunks", "early_changes", "models", "vectors", "queries"),
)
_QUERY = """insert into search.queries values (%s, gen_random_uuid(), 'who', 'lexical', '', '', 1, 1,
    gen_random_uuid(), now())"""


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows are deleted at once."""
    monkeypatch.setattr(purging, "_ROWS", 2)
    monkeypatch.setattr(housekeeping, "_ROWS", 2)


def left(library: Library) -> list[str]:
    """The tables that hold something of the workspace."""
    return [table for table in TABLES if library.rows(table, "1")]


def begin(library: Library) -> None:
    with library.acting(), library.services.units() as uow:
        library.services.purging.begin(uow, library.workspace_id)
        uow.commit()


def purge(library: Library, check: Check = lambda: None) -> None:
    with library.acting():
        library.services.purging.purge(library.workspace_id, check, lambda _: None)


@pytest.fixture
def full(library: Library) -> Library:
    """Something of everything."""
    document = new_id()
    for number in range(5):
        library.publish([f"red fox {number}", f"grey wolf {number}"])
    library.publish(["white hare", "brown bear"], document, everyone=False, members=[f"users/{new_id()}"])
    library.publish(["white hare"], document, version=2, everyone=False, members=[f"users/{new_id()}"])
    library.stage(["an owl"], new_id())
    library.delete(new_id())
    library.database.execute(_QUERY, [library.workspace_id])
    return library


class TestPurge:
    def test_that_is_cut_off_anywhere_is_done_by_the_next(self, full: Library) -> None:
        begin(full)
        steps = 0
        while killed_after(steps % 3, lambda check: purge(full, check)):
            steps += 1
        assert steps > 3
        assert left(full) == ["indexes"]

    def test_lets_nothing_be_published_any_more(self, full: Library) -> None:
        document = new_id()
        full.stage(["red fox"], document)
        begin(full)
        for _ in range(2):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                full.stubs.index.StageChunks(full.staging(document, 2))
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                full.stubs.index.PublishDocument(full.publishing(document, 1))
            purge(full)
        full.change(document, SHOWN)
        full.delete(document)
        full.maintain()
        assert left(full) == ["indexes"]

    def test_is_heard_of_by_who_is_about_to_publish(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        document, publishing = new_id(), library.services.publishing
        library.stage(["red fox"], document)
        prepare = publishing._preparing.prepare

        def meanwhile(*given: object) -> object:
            begin(library)
            return prepare(*given)  # type: ignore[arg-type]  # what it was given

        monkeypatch.setattr(publishing._preparing, "prepare", meanwhile)
        with pytest.raises(IndexPurged):
            library.publish(["red fox"], document, stage=False)
        purge(library)
        assert left(library) == ["indexes"]

    def test_takes_the_index_itself_a_day_later(self, full: Library) -> None:
        begin(full)
        purge(full)
        full.lose_jobs()
        full.services.housekeeping.sweep(lambda: None)
        assert full.jobs(PURGE) == 0
        full.age("indexes", "purge_time", timedelta(days=2))
        full.services.housekeeping.sweep(lambda: None)
        assert full.jobs(PURGE) == 1
        # What somebody left who was at work.
        full.database.execute(_QUERY, [full.workspace_id])
        purge(full)
        assert left(full) == []


class TestQueries:
    def test_go_with_the_wish_to_keep_them_whenever_a_worker_is_killed(self, library: Library) -> None:
        self.asked(library, 5)
        self.keep(library, keep=False)
        assert library.jobs(FORGET_QUERIES) == 1
        steps = 0
        while killed_after(steps % 2, lambda check: self.forget(library, check)):
            steps += 1
        assert steps > 1
        assert left(library) == ["indexes"]

    def test_go_though_the_job_is_lost(self, library: Library) -> None:
        self.asked(library, 1)
        self.keep(library, keep=False)
        library.lose_jobs()
        library.services.housekeeping.sweep(lambda: None)
        assert library.jobs(FORGET_QUERIES) == 1
        self.forget(library, lambda: None)
        library.lose_jobs()
        library.services.housekeeping.sweep(lambda: None)
        assert library.jobs(FORGET_QUERIES) == 0

    def test_stay_where_they_are_wanted_again(self, library: Library) -> None:
        self.asked(library, 1)
        self.keep(library, keep=False)
        self.keep(library, keep=True)
        self.forget(library, lambda: None)
        assert left(library) == ["indexes", "queries"]

    def test_are_swept_bit_by_bit(self, library: Library) -> None:
        self.asked(library, 5)
        library.age("queries", "create_time", timedelta(days=91))
        self.asked(library, 1)
        library.services.housekeeping.sweep(lambda: None)
        assert len(library.rows("queries", "query_id", "query")) == 1

    @staticmethod
    def asked(library: Library, count: int) -> None:
        for _ in range(count):
            library.database.execute(_QUERY, [library.workspace_id])

    @staticmethod
    def keep(library: Library, *, keep: bool) -> None:
        """As UpdateIndex does, by whoever may."""
        with library.acting():
            index = library.services.index.get(library.workspace_id).index
            library.services.index.update(library.workspace_id, etag_of(index.version), IndexPatch(log_queries=keep))

    @staticmethod
    def forget(library: Library, check: Check) -> None:
        with library.acting():
            library.services.purging.forget_queries(library.workspace_id, check)
