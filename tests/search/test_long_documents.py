"""Documents of so many passages that they are written, counted and taken away bit by bit."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from services.kernel.db import Session
from services.kernel.ids import new_id
from services.kernel.jobs import Check
from services.search.model.passages import Readable
from services.search.repository.indexes import IndexRepository
from services.search.repository.postings import PostingRepository
from services.search.service import preparing, vocabulary
from services.search.service.maintenance import MAINTAIN
from services.search.service.vocabulary import COUNT
from tests.search.checks import Killed, killed_after, once
from tests.search.library import HIDDEN, SHOWN, Library

TEXTS = [f"red fox {number}" for number in range(11)]
WORDS = {("red", 0): 11, ("fox", 0): 11}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven passages are many."""
    monkeypatch.setattr(preparing, "SEGMENT", 4)
    monkeypatch.setattr(vocabulary, "AT_ONCE", 2)
    monkeypatch.setattr(preparing, "AT_ONCE", 2)


def publish_until(monkeypatch: pytest.MonkeyPatch, step: int, publish: Callable[[], object]) -> None:
    """The worker is killed when it writes postings for the so-manieth time."""
    add, left = PostingRepository.add, iter(range(step))

    def cut_off(self: PostingRepository, *given: Any) -> None:  # whatever `add` takes
        if next(left, None) is None:
            raise Killed
        add(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(PostingRepository, "add", cut_off)
        with pytest.raises(Killed):
            publish()


def before_held(monkeypatch: pytest.MonkeyPatch, time: int, do: Callable[[], object]) -> None:
    """Another worker does something when this one is about to hold an index for the so-manieth time."""
    lock, calls = IndexRepository.lock, iter([*[lambda: None] * (time - 1), do])

    def later(self: IndexRepository, *given: Any) -> Any:  # whatever `lock` takes and gives
        with ThreadPoolExecutor() as others:
            others.submit(next(calls, lambda: None)).result()
        return lock(self, *given)

    monkeypatch.setattr(IndexRepository, "lock", later)


def lose_jobs(library: Library) -> None:
    """Somebody cancels all that waits; hours go by."""
    library.lose_jobs()
    library.age("recounts", "ask_time", timedelta(hours=1))


class TestPublish:
    def test_makes_all_passages_be_found_at_once(self, library: Library) -> None:
        done = library.publish(TEXTS)
        assert (done.added, done.removed, done.kept) == (11, 0, 0)
        assert sorted(library.find("fox")) == sorted(TEXTS)
        assert library.rows("segments", "first_chunk_no", "chunk_count", "state") == [
            (0, 4, "live"),
            (4, 4, "live"),
            (8, 3, "live"),
        ]
        assert library.rows("indexes", "chunk_count", "term_count") == [(11, 33)]
        assert library.rows("staged_segments", "segment_id", "lengths") == []

    def test_has_its_words_counted_by_a_job(self, library: Library) -> None:
        document = new_id()
        library.publish(TEXTS, document)
        assert library.words() == {}
        library.count_words()
        assert library.words() == WORDS
        library.publish(TEXTS[:3], document, version=2)
        assert sorted(library.find("fox")) == TEXTS[:3]
        library.count_words()
        assert library.words() == {("red", 0): 3, ("fox", 0): 3}

    def test_stands_among_others_that_are_merged(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services.search.model.segments.FANOUT", 3)
        library.publish(["one wolf"])
        library.publish(TEXTS)
        library.publish(["a grey fox"])
        before = library.find("fox wolf")
        assert len(before) == 13
        library.maintain()
        assert library.find("fox wolf") == before
        assert len(library.rows("segments", "segment_id", "state")) < 5

    def test_of_a_changed_version_writes_what_is_new(self, library: Library) -> None:
        document = new_id()
        library.publish(TEXTS, document)
        changed = [*TEXTS[:5], *(f"grey wolf {number}" for number in range(6))]
        done = library.publish(changed, document, version=2)
        assert (done.added, done.removed, done.kept) == (6, 6, 5)
        assert sorted(library.find("fox wolf")) == sorted(changed)
        library.count_words()
        assert library.words() == {("red", 0): 5, ("fox", 0): 5, ("grey", 0): 6, ("wolf", 0): 6}

    def test_that_is_cut_off_goes_on_behind_what_is_written(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        document = new_id()
        publish_until(monkeypatch, 2, lambda: library.publish(TEXTS, document))
        assert library.find("fox") == {}
        assert len(library.rows("staged_segments", "segment_id", "lengths")) == 2
        # Whoever looks after the index leaves alone what waits.
        library.maintain()
        publish_until(monkeypatch, 0, lambda: library.publish(TEXTS, document))
        assert len(library.rows("staged_segments", "segment_id", "lengths")) == 2
        library.publish(TEXTS, document)
        assert sorted(library.find("fox")) == sorted(TEXTS)
        assert len(library.rows("chunks", "chunk_no", "text")) == 11
        assert library.rows("staged_segments", "segment_id", "lengths") == []

    @pytest.mark.parametrize("end", ["another version", "a deletion", "the sweep"])
    def test_that_never_comes_leaves_nothing(self, library: Library, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
        document = new_id()
        publish_until(monkeypatch, 2, lambda: library.publish(TEXTS, document))
        if end == "another version":
            library.publish(["a wolf"], document, version=2)
        elif end == "a deletion":
            library.delete(document)
        else:
            library.age("staged_segments", "stage_time", timedelta(days=8))
            library.services.housekeeping.sweep(lambda: None)
        assert library.jobs(MAINTAIN) == 1
        library.maintain()
        left = {segment_id for segment_id, _ in library.rows("segments", "segment_id", "state")}
        assert {segment_id for segment_id, _ in library.rows("postings", "segment_id", "term")} == left
        assert len(left) == (end == "another version")
        assert library.rows("staged_segments", "segment_id", "lengths") == []


class TestFollow:
    def test_of_a_deletion_hides_all_at_once(self, library: Library) -> None:
        document = new_id()
        library.publish(TEXTS, document)
        library.count_words()
        library.delete(document)
        assert library.find("fox") == {}
        assert library.rows("chunks", "chunk_no", "text") == []
        assert library.rows("indexes", "chunk_count", "term_count", "languages") == [(0, 0, {})]
        assert library.words() == WORDS
        library.count_words()
        assert library.words() == {}
        assert library.rows("removed_chunks", "chunk_no", "text") == []

    def test_of_a_new_visibility_hides_at_once_and_moves_the_words(self, library: Library) -> None:
        document = new_id()
        library.publish(TEXTS, document)
        library.count_words()
        library.change(document, HIDDEN)
        audience = library.audience_of(document)
        assert library.find("fox", audiences=[0]) == {}
        library.count_words()
        assert library.words() == {("red", audience): 11, ("fox", audience): 11}

    def test_while_words_are_moved_counts_each_once(self, library: Library) -> None:
        document, kept = new_id(), [*TEXTS, "an owl"]
        library.publish(TEXTS, document)

        def meanwhile() -> None:
            library.change(document, HIDDEN)
            library.publish(kept, document, version=2)
            library.change(document, SHOWN, hours=2)

        self.count(library, document, once(meanwhile))
        assert library.jobs(COUNT) > 1
        library.count_words()
        assert library.words() == WORDS | {("an", 0): 1, ("owl", 0): 1}

    def test_of_a_new_visibility_moves_the_words_of_a_version_that_comes_first(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        document, version = new_id(), ["red fox", "brown bear"]
        library.publish(["red fox", "grey wolf"], document)
        before_held(monkeypatch, 1, lambda: library.publish(version, document, version=2))
        library.change(document, HIDDEN)
        audience = library.audience_of(document)
        library.count_words()
        assert library.words() == {(word, audience): 1 for text in version for word in text.split()}

    @pytest.mark.parametrize("time", [1, 2, 3, 4])
    def test_counts_no_word_of_what_goes_before_it_is_counted(
        self, library: Library, monkeypatch: pytest.MonkeyPatch, time: int
    ) -> None:
        document, version = new_id(), ["grey wolf", *TEXTS[5:]]
        library.publish(TEXTS, document)
        before_held(monkeypatch, time, lambda: library.publish(version, document, version=2))
        library.count_words()
        library.count_words()
        assert library.words() == {("red", 0): 6, ("fox", 0): 6, ("grey", 0): 1, ("wolf", 0): 1}

    @pytest.mark.parametrize("left", ["new", "hidden", "deleted"])
    def test_has_its_words_counted_though_jobs_are_lost(self, library: Library, left: str) -> None:
        document = new_id()
        library.publish(TEXTS, document)
        if left != "new":
            library.count_words()
            library.change(document, HIDDEN if left == "hidden" else None)
        lose_jobs(library)
        library.services.housekeeping.sweep(lambda: None)
        library.count_words()
        audience = library.audience_of(document)
        assert library.words() == ({(word, audience): 11 for word in ("red", "fox")} if left != "deleted" else {})
        assert library.rows("removed_chunks", "chunk_no", "text") == []
        lose_jobs(library)
        library.services.housekeeping.sweep(lambda: None)
        assert library.jobs(COUNT) == 0

    def test_counts_each_word_once_whenever_it_is_cut_off(self, library: Library) -> None:
        document = new_id()
        library.publish(TEXTS, document)
        steps = 0
        while killed_after(steps % 2, partial(self.count, library, document)):
            steps += 1
        assert steps > 2
        assert library.words() == WORDS

    @staticmethod
    def count(library: Library, document: UUID, check: Check) -> None:
        with library.acting():
            library.services.vocabulary.count(library.workspace_id, document, check)


class TestRebuild:
    @pytest.mark.parametrize("first", ["the rebuild", "the words"])
    def test_counts_words_that_a_job_has_still_to_count_once(self, library: Library, first: str) -> None:
        gone = new_id()
        library.publish(TEXTS)
        library.publish(["a red owl", "an owl", "one owl"], gone)
        library.rebuild()
        library.delete(gone)
        if first == "the words":
            library.count_words()
        library.maintain()
        library.count_words()
        assert library.words() == WORDS


class TestHolding:
    """What is done while others have to wait."""

    @pytest.mark.parametrize("count", [3, 11])
    def test_reads_and_writes_no_words(
        self, library: Library, monkeypatch: pytest.MonkeyPatch, owner_url: str, count: int
    ) -> None:
        document = new_id()
        library.publish(TEXTS[:2], document)
        with psycopg.connect(owner_url, autocommit=True) as other:
            query = "select 1 from search.indexes where workspace_id = %s for update nowait"

            def free(*_: object, **__: object) -> None:
                other.execute(query, [library.workspace_id])

            for name in ("terms", "vocabulary", "both"):
                self._first(monkeypatch, Readable, name, free)
            if count > preparing.SEGMENT:
                self._first(monkeypatch, PostingRepository, "add", free)
            library.publish([*TEXTS[2:count], "a wolf"], document, version=2)
            library.change(document, HIDDEN)
            library.delete(document)

    def test_takes_as_many_statements_for_many_passages_as_for_few(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        library.publish(["one owl"])
        counts = [len(self._statements(monkeypatch, partial(library.publish, TEXTS[:count]))) for count in (5, 11)]
        assert counts[0] == counts[1]

    def test_ends_a_rebuild_without_a_look_at_passages_and_words(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        library.publish(TEXTS)
        library.rebuild()
        found = " ".join(self._statements(monkeypatch, library.maintain))
        assert "search.indexes" in found
        assert "search.chunks" not in found
        assert "search.vocabulary" not in found

    @staticmethod
    def _first(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, do: Callable[..., None]) -> None:
        given = getattr(owner, name)

        def checked(*arguments: Any, **named: Any) -> Any:  # whatever the method takes and gives
            do(*arguments, **named)
            return given(*arguments, **named)

        monkeypatch.setattr(owner, name, checked)

    @staticmethod
    def _statements(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> list[str]:
        """What is run from when work holds the index for the last time: what it does to publish, or to end."""
        found: list[str] = []
        lock = IndexRepository.lock

        def noted(_: Session, statement: Any, *__: object, **___: object) -> None:
            found.append(statement.sql)

        with monkeypatch.context() as patch:

            def held(self: IndexRepository, *given: Any) -> Any:
                index = lock(self, *given)
                found.clear()
                return index

            patch.setattr(IndexRepository, "lock", held)
            for name in ("run", "first", "all"):
                TestHolding._first(patch, Session, name, noted)
            work()
        return found
