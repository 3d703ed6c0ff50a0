"""Merging and building anew: what readers and publishers notice of it, and what is left of one that was cut off."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from services.kernel.errors import ConcurrentUpdate
from services.kernel.ids import new_id
from services.search import repository
from services.search.model import analysis, segments
from services.search.repository.postings import PostingRepository
from services.search.service import maintenance
from services.search.service.maintenance import MAINTAIN
from tests.search.checks import killed_after, once
from tests.search.library import HIDDEN, NOON, Library


@pytest.fixture(autouse=True)
def _early() -> Iterator[None]:
    """Three neighbours are merged, so that a test needs a few documents only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "FANOUT", 3)
        yield


def states(library: Library) -> list[str]:
    return [state for _, state in library.rows("segments", "first_chunk_no", "state")]


def sweep(library: Library) -> None:
    library.services.maintenance.ask_where_due()


class TestMaintain:
    def test_leaves_what_is_found_as_it_is(self, library: Library) -> None:
        for number in range(7):
            library.publish([f"red fox {number}", f"grey wolf {number}"])
        before, revision = library.find("fox wolf 3"), library.snapshot().revision
        library.maintain()
        assert library.find("fox wolf 3") == before
        assert library.snapshot().revision > revision
        assert states(library) == ["live"] * 3
        assert library.rows("segments", "first_chunk_no", "chunk_count") == [(0, 6), (6, 6), (12, 2)]

    def test_forgets_what_is_dead(self, library: Library) -> None:
        documents = [new_id() for _ in range(3)]
        for document in documents:
            library.publish(["red fox", "wolf", "bear", "hare"], document)
        library.publish(["wolf", "bear", "hare"], documents[1], version=2)
        library.maintain()
        assert library.rows("tombstones", "chunk_no") == []
        assert library.match("fox").count == 2
        assert library.rows("segments", "first_chunk_no", "chunk_count") == [(0, 11)]

    def test_reads_no_more_at_once_than_it_has_room_for(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read, between = list[int](), PostingRepository.between

        def spied(self: PostingRepository, *bounds: Any) -> list[dict[str, bytes]]:
            read.append(sum(map(len, found := between(self, *bounds))))
            return found

        monkeypatch.setattr(PostingRepository, "between", spied)
        # Of rows of half a kilobyte each.
        monkeypatch.setattr(repository.postings, "_BATCH_BYTES", 5_000)
        for number in range(3):
            library.publish([f"word{letter} of {number}" for letter in "abcdefghij"])
        before = library.find("worda wordj")
        library.maintain()
        assert library.find("worda wordj") == before
        assert sum(read) == 3 * 12
        assert max(read) < 12

    def test_takes_away_what_is_dead_altogether(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document)
        library.delete(document)
        library.maintain()
        for table in ("segments", "postings", "tombstones"):
            assert library.rows(table, "workspace_id", "workspace_id") == []

    def test_is_asked_for_once_there_are_enough_to_merge(self, library: Library) -> None:
        library.publish(["red fox"])
        library.publish(["red fox"])
        assert library.jobs(MAINTAIN) == 0
        library.publish(["red fox"])
        library.publish(["red fox"])
        assert library.jobs(MAINTAIN) == 1

    def test_that_is_cut_off_anywhere_is_done_by_the_next(self, library: Library) -> None:
        for number in range(9):
            library.publish([f"red fox {number}"])
        before, step = library.find("fox 3"), 1
        while killed_after(step, library.maintain):
            assert library.find("fox 3") == before
            step += 1
            library.publish([f"owl {step}"])
            before = library.find("fox 3")
        assert step > 3
        assert set(states(library)) == {"live"}

    def test_of_two_at_once_lets_one_fail(self, library: Library) -> None:
        for number in range(3):
            library.publish([f"red fox {number}"])
        before = library.find("fox")

        with pytest.raises(ConcurrentUpdate):
            library.maintain(once(library.maintain))
        assert library.find("fox") == before

    def test_goes_on_while_others_publish_and_read(self, library: Library) -> None:
        document, ended = new_id(), threading.Event()
        library.publish(["red fox", "grey wolf"], document)
        failures: list[BaseException] = []

        def read() -> None:
            while not ended.is_set():
                try:
                    # As many as the number that is said in it, whenever it is looked at.
                    assert len(library.match("owl").ranking.scores) % 2 == 0
                    assert list(library.find("fox")) == ["red fox"]
                except BaseException as failure:  # noqa: BLE001  # for the test to raise
                    failures.append(failure)
                    return

        def maintain() -> None:
            while not ended.is_set():
                library.maintain()

        threads = [threading.Thread(target=read), threading.Thread(target=maintain)]
        for thread in threads:
            thread.start()
        try:
            for number in range(20):
                library.publish([f"owl {number}", f"owl and hare {number}"])
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert failures == []
        assert len(library.find("owl")) == 40

    def test_drops_what_is_dead_for_a_week_however_little_it_is(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox", "grey wolf", "brown bear", "secret zebra"], document)
        library.publish(["red fox", "grey wolf", "brown bear"], document, version=2)
        sweep(library)
        assert library.jobs(MAINTAIN) == 0
        library.age("tombstones", "bury_time", timedelta(days=8))
        sweep(library)
        sweep(library)
        assert library.jobs(MAINTAIN) == 1
        library.maintain()
        assert "zebra" not in {term for term, _ in library.rows("postings", "term", "segment_id")}
        assert library.rows("tombstones", "chunk_no") == []
        assert list(library.find("fox")) == ["red fox"]

    def test_does_what_is_asked_for_while_it_is_at_it(self, library: Library) -> None:
        for number in range(3):
            library.publish([f"red fox {number}"])

        def ask() -> None:
            library.rebuild()
            # As many as are merged.
            for number in range(3):
                library.publish([f"owl {number}"])

        library.maintain(once(ask))
        assert library.rows("indexes", "rebuilding", "chunk_count") == [(False, 6)]
        assert [chunks for _, chunks in library.rows("segments", "first_chunk_no", "chunk_count")] == [3, 3]


class TestRebuild:
    def test_makes_the_postings_anew(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox", "grey wolf"], document)
        library.publish(["white fox"])
        before = library.find("fox wolf")
        library.rebuild()
        for damage in (
            "delete from search.postings where workspace_id = %s",
            "update search.chunks set length = 1 where workspace_id = %s",
            "update search.indexes set term_count = 3 where workspace_id = %s",
        ):
            library.database.execute(damage, [library.workspace_id])
        library.maintain()
        assert library.find("fox wolf") == before
        assert library.rows("indexes", "rebuilding", "term_count") == [(False, 6)]
        assert {length for _, length in library.rows("chunks", "chunk_no", "length")} == {2}

    def test_has_what_was_published_and_deleted_meanwhile(self, library: Library) -> None:
        gone, kept = new_id(), new_id()
        library.publish(["red fox"], gone)
        library.publish(["grey fox"], kept)
        library.rebuild()

        def meanwhile() -> None:
            library.delete(gone)
            library.publish(["white fox"])

        library.maintain(once(meanwhile))
        assert sorted(library.find("fox")) == ["grey fox", "white fox"]
        assert library.rows("indexes", "chunk_count", "term_count") == [(2, 4)]

    def test_that_is_cut_off_anywhere_is_done_by_the_next(self, library: Library) -> None:
        for number in range(4):
            library.publish([f"red fox {number}"])
        before, words, step = library.find("fox 2"), library.words(), 1
        library.rebuild()
        while killed_after(step, library.maintain):
            assert library.find("fox 2") == before
            step += 1
        assert library.find("fox 2") == before
        assert library.words() == words
        assert set(states(library)) == {"live"}
        assert library.rows("indexes", "rebuilding", "chunk_count") == [(False, 4)]

    def test_goes_on_where_it_was_cut_off(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(maintenance, "_CHUNKS", 1)
        for number in range(8):
            library.publish([f"red fox {number}"])
        before = library.find("fox 3")
        library.rebuild()
        attempts = 0
        # No attempt lives long enough for all of it.
        while killed_after(6, library.maintain):
            attempts += 1
            assert attempts < 20
        assert attempts > 1
        assert library.find("fox 3") == before
        assert library.rows("indexes", "rebuilding", "chunk_count") == [(False, 8)]

    def test_counts_the_words_anew_as_they_are_read_now(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone, hidden, kept = new_id(), new_id(), new_id()
        library.publish(["red fox", "red wolf"], gone)
        library.publish(["red owl"], hidden)
        library.publish(["red hare"], kept)
        monkeypatch.setattr(maintenance, "_CHUNKS", 1)
        monkeypatch.setattr(maintenance, "_WORDS", 1)
        read = analysis.words
        monkeypatch.setattr(analysis, "words", lambda text: read(text.replace("red", "crimson")))
        library.rebuild()
        left = ["publish", "delete", "hide"]

        def meanwhile() -> None:
            match left.pop(0) if left else None:
                case "publish":
                    library.publish(["red newt"])
                case "delete":
                    library.delete(gone)
                case "hide":
                    library.change(hidden, HIDDEN)

        library.maintain(meanwhile)
        audience = library.audience_of(hidden)
        expected = {("crimson", 0): 2, ("hare", 0): 1, ("newt", 0): 1, ("crimson", audience): 1, ("owl", audience): 1}
        assert library.words() == expected
        for document in (hidden, kept):
            library.delete(document)
        assert library.words() == {("crimson", 0): 1, ("newt", 0): 1}

    def test_merges_meanwhile_what_is_published_meanwhile(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(maintenance, "_CHUNKS", 1)
        for number in range(6):
            library.publish([f"red fox {number}"])
        library.rebuild()
        seen: list[tuple[bool, list[int]]] = []

        def check() -> None:
            if not seen:
                for number in range(3):
                    library.publish([f"owl {number}"])
            [(rebuilding, end)] = library.rows("indexes", "rebuilding", "rebuild_end")
            live = "case when state = 'live' then chunk_count else 0 end"
            rows = library.rows("segments", "first_chunk_no", live)
            seen.append((rebuilding, [count for first_no, count in rows if first_no >= end and count]))

        library.maintain(check)
        assert (True, [3]) in seen
        assert sorted(library.find("owl")) == ["owl 0", "owl 1", "owl 2"]
        assert set(states(library)) == {"live"}

    @pytest.mark.parametrize("step", range(1, 8))
    def test_counts_no_word_twice_whatever_is_deleted_when(
        self, library: Library, monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        monkeypatch.setattr(maintenance, "_CHUNKS", 1)
        documents = [new_id() for _ in range(3)]
        for number, document in enumerate(documents):
            library.publish([f"red fox {number}", f"grey wolf {number}"], document)
        library.rebuild()
        killed_after(step, library.maintain)
        library.delete(documents[0])
        library.publish(["grey wolf 2"], documents[2], version=2)
        library.maintain()
        assert library.words() == {("red", 0): 1, ("fox", 0): 1, ("grey", 0): 2, ("wolf", 0): 2}

    def test_that_nobody_has_begun_is_asked_for_again(self, library: Library) -> None:
        library.publish(["red fox"])
        library.rebuild()
        library.lose_jobs()
        sweep(library)
        assert library.jobs(MAINTAIN) == 1


class TestSweep:
    def test_has_deleted_what_a_lost_job_has_left(self, library: Library) -> None:
        for number in range(3):
            library.publish([f"red fox {number}"])
        step = 0
        while "retired" not in states(library):
            step += 1
            killed_after(step, library.maintain)
        for expected in (1, 0):
            library.lose_jobs()
            sweep(library)
            assert library.jobs(MAINTAIN) == expected
            library.maintain()

    def test_asks_in_one_order(self, new_library: Callable[[], Library]) -> None:
        libraries = [new_library() for _ in range(8)]
        for library in libraries:
            library.rebuild()
        with libraries[0].services.units.system() as uow:
            found = uow.repo.segments.neglected(NOON)
        assert found == sorted(found)
        assert {library.workspace_id for library in libraries} <= set(found)
