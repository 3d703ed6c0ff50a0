"""Reading: what a process keeps of an index is never another one's, never old, and no more than it may be."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from services.kernel.errors import FilterInvalid
from services.kernel.filtering import ListQuery
from services.kernel.ids import new_id
from services.search.model import segments
from services.search.repository.documents import DocumentRepository
from services.search.repository.postings import PostingRepository
from services.search.service import lexical
from services.search.service.snapshots import SnapshotGone, Snapshots
from tests.search.library import NOON, Library


class TestSnapshots:
    def test_show_what_was_published_at_once(self, library: Library) -> None:
        assert library.find("fox") == {}
        library.publish(["red fox"])
        assert list(library.find("fox")) == ["red fox"]
        library.publish(["fox and fox"])
        assert list(library.find("fox")) == ["fox and fox", "red fox"]

    def test_of_two_workspaces_with_the_same_documents_say_nothing_of_each_other(
        self, new_library: Callable[[], Library]
    ) -> None:
        mine, other = new_library(), new_library()
        for library in (mine, other):
            library.publish(["red fox", "grey wolf"])
        before = mine.find("fox wolf")
        assert before == other.find("fox wolf")
        other.publish(["fox", "fox fox", "owl"])
        assert mine.find("fox wolf") == before
        assert mine.find("owl") == {}

    def test_look_no_document_up_that_another_workspace_has(self, new_library: Callable[[], Library]) -> None:
        mine, other = new_library(), new_library()
        other.publish(["red fox"])
        snapshot = other.snapshot()
        snapshots = Snapshots(2**20)
        with mine.acting(), mine.services.units() as uow:
            # Whoever comes with another workspace's snapshot is stopped by the policies.
            with pytest.raises(SnapshotGone):
                snapshots.postings(uow, snapshot, ["fox"])
            assert snapshots.current(uow, other.workspace_id).corpus.chunk_count == 0

    def test_stay_whole_while_the_index_goes_on(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(segments, "FANOUT", 2)
        document = new_id()
        library.publish(["red fox"], document)
        library.publish(["grey fox"])
        with library.acting(), library.services.units() as uow:
            snapshots = Snapshots(2**20)
            snapshot = snapshots.current(uow, library.workspace_id)
        library.publish(["white fox"])
        library.delete(document)
        with library.acting(), library.services.units() as uow:
            assert len(snapshots.postings(uow, snapshot, ["fox"])["fox"]) == 2
            # What was read is there still when its segments are not.
        library.maintain()
        with library.acting(), library.services.units() as uow:
            assert len(snapshots.postings(uow, snapshot, ["fox"])["fox"]) == 2
            with pytest.raises(SnapshotGone):
                snapshots.postings(uow, snapshot, ["grey"])
            fresh = snapshots.read(uow, library.workspace_id, lambda now: snapshots.postings(uow, now, ["grey"]))
            assert len(fresh["grey"]) == 1

    @pytest.mark.parametrize("told_before", [True, False])
    def test_count_for_whoever_does_not_see_all_as_those_of_a_new_process(
        self, library: Library, monkeypatch: pytest.MonkeyPatch, told_before: bool
    ) -> None:
        monkeypatch.setattr(segments, "FANOUT", 2)
        document, up_for_days = new_id(), Snapshots(2**20)

        def seen(snapshots: Snapshots) -> tuple[int, int]:
            with library.acting(), library.services.units() as uow:
                snapshot = snapshots.current(uow, library.workspace_id)
                corpus = snapshots.seen(uow, snapshot, (0,))
                return corpus.chunk_count, int((snapshot.doc_nos >= 0).sum())

        library.publish(["red fox", "red wolf"], document)
        library.publish(["a secret"], everyone=False, members=[f"users/{new_id()}"])
        assert seen(up_for_days) == (2, 3)
        library.publish(["red fox", "red bear"], document, version=2)
        if told_before:
            assert seen(up_for_days) == (2, 3)
        library.maintain()
        assert seen(up_for_days) == seen(Snapshots(2**20)) == (2, 3)

    def test_ask_only_for_what_is_new(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, int]] = []
        find = PostingRepository.find

        def counted(self: PostingRepository, workspace_id: UUID, wanted: Sequence[tuple[str, int]]) -> object:
            asked.extend(wanted)
            return find(self, workspace_id, wanted)

        for _ in range(3):
            library.publish(["red fox"])
        snapshots = Snapshots(2**20)

        def read() -> dict[str, int]:
            with library.acting(), library.services.units() as uow:
                terms = ["fox", "nobody"]
                found = snapshots.read(uow, library.workspace_id, lambda now: snapshots.postings(uow, now, terms))
                return {term: len(postings) for term, postings in found.items()}

        monkeypatch.setattr(PostingRepository, "find", counted)
        assert read() == {"fox": 3, "nobody": 0}
        assert len(asked) == 6
        library.publish(["fox fox"])
        assert [read(), read()] == [{"fox": 4, "nobody": 0}] * 2
        assert sorted(asked[6:]) == [("fox", 4), ("nobody", 4)]
        monkeypatch.setattr(segments, "FANOUT", 2)
        library.maintain()
        assert read() == {"fox": 4, "nobody": 0}

    def test_keep_no_more_than_they_may_for_many_audiences(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []
        numbers = DocumentRepository.numbers

        def counted(
            self: DocumentRepository, workspace_id: UUID, wanted: ListQuery, audiences: Sequence[int]
        ) -> object:
            asked.append(len(audiences))
            return numbers(self, workspace_id, wanted, audiences)

        monkeypatch.setattr(DocumentRepository, "numbers", counted)
        library.publish(["red fox"])
        snapshots = Snapshots(2**18)
        with library.acting(), library.services.units() as uow:
            snapshot = snapshots.current(uow, library.workspace_id)
            for count in (10, 10_000):
                assert snapshots.seen(uow, snapshot, range(count)).chunk_count == 1
                assert snapshots.seen(uow, snapshot, range(count)).chunk_count == 1
        assert asked == [10, 10_000, 10_000]

    def test_need_no_more_room_than_they_have(self, library: Library) -> None:
        library.publish([" ".join(f"word{number}" for number in range(50))])
        with library.acting(), library.services.units() as uow:
            small = Snapshots(4000)
            for number in range(50):
                snapshot = small.current(uow, library.workspace_id)
                assert len(small.postings(uow, snapshot, [f"word{number}"])[f"word{number}"]) == 1


class TestAllowed:
    def test_is_what_the_filter_lets_through(self, library: Library) -> None:
        german, english = new_id(), new_id()
        library.publish(["red fox"], german, language="de", tags=["contract"], metadata={"year": "2024"})
        later = NOON + timedelta(hours=1)
        library.publish(
            ["red fox too"], english, display_name="Lease.pdf", media_type="application/pdf", update_time=later
        )
        for filter, found in (
            ('language = "de"', ["red fox"]),
            ("tags:contract AND metadata.year >= 2024", ["red fox"]),
            ("metadata:year", ["red fox"]),
            ("NOT metadata.year:*", ["red fox too"]),
            ('display_name = "Lease*"', ["red fox too"]),
            ("media_type = application/pdf", ["red fox too"]),
            (f"document = {library.name_of(german)}", ["red fox"]),
            (f"author = users/{new_id()}", []),
            (f'create_time = "{NOON.isoformat()}" AND tags:contract', ["red fox"]),
            (f'create_time > "{NOON.isoformat()}"', []),
            (f'update_time > "{NOON.isoformat()}"', ["red fox too"]),
        ):
            assert list(library.find("red", filter=filter)) == found, filter

    def test_does_not_change_scores(self, library: Library) -> None:
        library.publish(["red fox"], tags=["kept"])
        library.publish(["grey fox"])
        assert library.find("fox", filter="tags:kept")["red fox"] == library.find("fox")["red fox"]

    def test_follows_what_documents_are_told_to_be(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document)
        assert library.find("fox", filter="tags:late") == {}
        library.publish(["red fox"], document, tags=["late"])
        assert list(library.find("fox", filter="tags:late")) == ["red fox"]

    def test_refuses_a_filter_that_is_none(self, library: Library) -> None:
        library.publish(["red fox"])
        with pytest.raises(FilterInvalid):
            library.find("fox", filter="colour = red")


class TestLexical:
    def test_counts_all_that_match_and_ranks_the_best(self, library: Library) -> None:
        library.publish([f"fox {'owl ' * number}" for number in range(1, 8)])
        found = library.match("fox", limit=2)
        assert (found.count, len(found.ranking.chunk_nos)) == (7, 2)

    def test_finds_a_phrase_however_many_passages_have_its_words(self, library: Library) -> None:
        library.publish([f"fox red number{number}" for number in range(60)])
        library.publish(["a long passage in which, among many another word, stands a red fox"])
        found = library.match('"red fox"', limit=5)
        assert library.texts(map(int, found.ranking.chunk_nos)) == [
            "a long passage in which, among many another word, stands a red fox"
        ]
        assert found.count == 1

    def test_looks_for_a_phrase_in_no_more_texts_than_it_may(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lexical, "PHRASE_DEPTH", 3)
        library.publish(["red fox", "red fox red fox wolf", "fox red", "red bear and one fox", "so it is, a red fox"])
        assert library.match('"red fox"', limit=2).count == 2

    def test_wants_what_is_quoted_and_leaves_out_what_is_refused(self, library: Library) -> None:
        library.publish(["red fox", "red wolf", "grey fox"])
        assert sorted(library.find('red "fox"')) == ["grey fox", "red fox"]
        assert sorted(library.find("red -wolf")) == ["red fox"]
