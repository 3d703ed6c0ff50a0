"""Merging and building anew: what readers and publishers notice of it, and what is left of one that was cut off."""

import threading
from collections.abc import Callable, Iterator

import pytest

from services.kernel.errors import ConcurrentUpdate
from services.kernel.ids import new_id
from services.search.model import segments
from services.search.service.merging import TEND
from tests.search.library import Library


@pytest.fixture(autouse=True)
def _early() -> Iterator[None]:
    """Three neighbours are merged, so that a test needs a few documents only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "FANOUT", 3)
        yield


class Stop(Exception):
    """The worker is killed."""


def tend_until(library: Library, step: int) -> bool:
    """Tend the index, and be killed at a step; whether that came."""
    steps = iter(range(step))

    def check() -> None:
        if next(steps, None) is None:
            raise Stop

    try:
        with library.acting():
            library.services.tending.tend(library.workspace_id, check)
    except Stop:
        return True
    return False


def once(work: Callable[[], None]) -> Callable[[], None]:
    """Does it when it is called first."""
    calls = iter([work])

    def check() -> None:
        for call in calls:
            call()

    return check


def states(library: Library) -> list[str]:
    return [state for _, state in library.rows("segments", "first_chunk_no", "state")]


def jobs(library: Library) -> int:
    """How many jobs look after the index."""
    query = "select count(*) from jobs.jobs where workspace_id = %s and kind = %s"
    [count] = library.database.execute(query, [library.workspace_id, TEND]).fetchone() or [0]
    return int(count)


class TestTend:
    def test_leaves_what_is_found_as_it_is(self, library: Library) -> None:
        for number in range(7):
            library.publish([f"red fox {number}", f"grey wolf {number}"])
        before, revision = library.find("fox wolf 3"), library.snapshot().revision
        library.tend()
        assert library.find("fox wolf 3") == before
        assert library.snapshot().revision > revision
        assert states(library) == ["live"] * 3
        assert library.rows("segments", "first_chunk_no", "chunk_count") == [(0, 6), (6, 6), (12, 2)]

    def test_forgets_what_is_dead(self, library: Library) -> None:
        documents = [new_id() for _ in range(3)]
        for document in documents:
            library.publish(["red fox", "wolf", "bear", "hare"], document)
        library.publish(["wolf", "bear", "hare"], documents[1], version=2)
        library.tend()
        assert library.rows("tombstones", "chunk_no", "chunk_no") == []
        assert library.match("fox").count == 2
        assert library.rows("segments", "first_chunk_no", "chunk_count") == [(0, 11)]

    def test_takes_away_what_is_dead_altogether(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document)
        library.delete(document)
        library.tend()
        for table in ("segments", "postings", "tombstones"):
            assert library.rows(table, "workspace_id", "workspace_id") == []

    def test_is_asked_for_once_there_are_enough_to_merge(self, library: Library) -> None:
        library.publish(["red fox"])
        library.publish(["red fox"])
        assert jobs(library) == 0
        library.publish(["red fox"])
        library.publish(["red fox"])
        assert jobs(library) == 1

    def test_that_is_cut_off_anywhere_is_done_by_the_next(self, library: Library) -> None:
        for number in range(9):
            library.publish([f"red fox {number}"])
        before, step = library.find("fox 3"), 1
        while tend_until(library, step):
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

        with pytest.raises(ConcurrentUpdate), library.acting():
            library.services.tending.tend(library.workspace_id, once(library.tend))
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

        def tend() -> None:
            while not ended.is_set():
                library.tend()

        threads = [threading.Thread(target=read), threading.Thread(target=tend)]
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


class TestRebuild:
    def test_makes_the_postings_anew(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox", "grey wolf"], document)
        library.publish(["white fox"])
        before = library.find("fox wolf")
        library.database.execute("delete from search.postings where workspace_id = %s", [library.workspace_id])
        library.database.execute(
            "update search.indexes set rebuilding = true, term_count = 0 where workspace_id = %s",
            [library.workspace_id],
        )
        library.tend()
        assert library.find("fox wolf") == before
        assert library.rows("indexes", "rebuilding", "term_count") == [(False, 6)]

    def test_has_what_was_published_and_deleted_meanwhile(self, library: Library) -> None:
        gone, kept = new_id(), new_id()
        library.publish(["red fox"], gone)
        library.publish(["grey fox"], kept)
        with library.acting():
            library.services.index.rebuild(library.workspace_id)

        def meanwhile() -> None:
            library.delete(gone)
            library.publish(["white fox"])

        with library.acting():
            library.services.tending.tend(library.workspace_id, once(meanwhile))
        assert sorted(library.find("fox")) == ["grey fox", "white fox"]
        assert library.rows("indexes", "chunk_count", "term_count") == [(2, 4)]

    def test_that_is_cut_off_anywhere_is_done_by_the_next(self, library: Library) -> None:
        for number in range(4):
            library.publish([f"red fox {number}"])
        before, step = library.find("fox 2"), 1
        with library.acting():
            library.services.index.rebuild(library.workspace_id)
        while tend_until(library, step):
            assert library.find("fox 2") == before
            step += 1
        assert library.find("fox 2") == before
        assert set(states(library)) == {"live"}
        assert library.rows("indexes", "rebuilding", "chunk_count") == [(False, 4)]
