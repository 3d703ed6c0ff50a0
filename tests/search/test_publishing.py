"""Publishing: what a version changes of the index, and what it leaves as it is."""

import threading
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest

from services.kernel.ids import new_id
from services.search.errors import VersionOutdated
from tests.search.library import AUTHOR, HIDDEN, NOON, SHOWN, Library
from tests.support.acting import at_once
from tests.support.errors import refused

CODE = grpc.StatusCode


class TestPublish:
    def test_makes_passages_be_found(self, library: Library) -> None:
        done = library.publish(["the red fox", "a grey wolf"])
        assert (done.added, done.removed, done.kept) == (2, 0, 0)
        assert list(library.find("foxes")) == ["the red fox"]
        assert library.rows("staged_chunks", "ordinal", "text") == []

    def test_changes_what_a_new_version_changes_and_nothing_else(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox", "grey wolf", "brown bear"], document)
        numbers = dict(library.rows("chunks", "text", "chunk_no"))
        done = library.publish(["white hare", "red fox", "brown bear"], document, version=2)
        assert (done.added, done.removed, done.kept) == (1, 1, 2)
        assert dict(library.rows("chunks", "text", "chunk_no")) == {
            "red fox": numbers["red fox"],
            "brown bear": numbers["brown bear"],
            "white hare": 3,
        }
        assert dict(library.rows("chunks", "text", "ordinal")) == {"white hare": 0, "red fox": 1, "brown bear": 2}
        assert library.find("wolf") == {}
        assert library.rows("tombstones", "chunk_no") == [(numbers["grey wolf"],)]

    def test_of_the_same_again_writes_nothing(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document)
        before = library.snapshot().revision
        done = library.publish(["red fox"], document)
        assert (done.added, done.removed, done.kept) == (0, 0, 1)
        assert library.snapshot().revision == before

    def test_is_answered_again_when_the_answer_was_lost(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox", "grey wolf"], document)
        done = library.publish(["red fox", "grey wolf"], document, stage=False)
        assert (done.added, done.removed, done.kept) == (0, 0, 2)

    def test_takes_a_passage_in_another_language_for_another_one(self, library: Library) -> None:
        document = new_id()
        library.publish(["die Häuser"], document, language="en")
        done = library.publish(["die Häuser"], document, version=2, language="de")
        assert (done.added, done.removed, done.kept) == (1, 1, 0)

    def test_reads_each_passage_in_its_own_language(self, library: Library) -> None:
        document, texts = new_id(), ["die Häuser", "the houses"]
        library.stage(texts, document, language="de", languages=["", "en"])
        library.publish(texts, document, stage=False, language="de")
        assert library.rows("chunks", "text", "language") == [("die Häuser", "de"), ("the houses", "en")]
        assert list(library.find("house")) == ["the houses"]
        assert library.rows("indexes", "languages", "chunk_count") == [({"de": 1, "en": 1}, 2)]
        library.publish(texts[:1], document, version=2, language="de")
        assert library.rows("indexes", "languages", "chunk_count") == [({"de": 1}, 1)]

    def test_wants_all_passages_staged(self, library: Library) -> None:
        document = new_id()
        library.stage(["red fox"], document)
        with refused(CODE.FAILED_PRECONDITION, "CHUNKS_MISSING") as refusal:
            library.stubs.index.PublishDocument(library.publishing(document, 3))
        assert refusal.metadata["missing"] == "2"
        assert library.rows("documents", "document_id", "doc_no") == []

    def test_keeps_of_what_was_staged_twice_the_last(self, library: Library) -> None:
        document = new_id()
        library.stage(["red fox", "grey wolf", "brown bear"], document)
        library.publish(["white hare", "grey wolf"], document)
        assert sorted(library.find("fox wolf bear hare")) == ["grey wolf", "white hare"]

    def test_of_an_older_version_is_refused(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document, version=2)
        with refused(CODE.FAILED_PRECONDITION, "VERSION_OUTDATED"):
            library.stubs.index.StageChunks(library.staging(document))
        with refused(CODE.FAILED_PRECONDITION, "VERSION_OUTDATED"):
            library.stubs.index.PublishDocument(library.publishing(document, 1))

    def test_by_two_workers_at_once_happens_once(self, library: Library) -> None:
        document = new_id()
        library.stage(["red fox", "grey wolf"], document)
        request = library.publishing(document, 2)
        done = at_once(2, lambda: library.stubs.index.PublishDocument(request))
        assert sorted((one.added, one.kept) for one in done) == [(0, 2), (2, 0)]
        assert len(library.rows("chunks", "chunk_no", "text")) == 2

    def test_of_many_documents_at_once_gives_each_number_once(self, library: Library) -> None:
        counter = iter(range(100))
        lock = threading.Lock()

        def work() -> None:
            with lock:
                number = next(counter)
            library.publish([f"red fox {number}", f"grey wolf {number}"])

        at_once(4, work)
        assert library.rows("chunks", "chunk_no", "length") == [(number, 3) for number in range(8)]
        assert library.rows("indexes", "document_count", "chunk_count", "term_count") == [(4, 8, 24)]

    def test_that_is_cut_off_leaves_what_was(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document)
        library.stage(["grey wolf"], document, version=2)
        with library.acting(), library.services.units() as uow:
            # As a worker does that is killed before its commit.
            index = uow.repo.indexes.lock(library.workspace_id, NOON)
            uow.repo.chunks.remove(library.workspace_id, [0])
            uow.repo.indexes.save(index.counting(0, -1, -2))
        assert list(library.find("fox wolf")) == ["red fox"]
        library.publish(["grey wolf"], document, version=2, stage=False)
        assert list(library.find("fox wolf")) == ["grey wolf"]

    def test_finds_passages_under_their_headings(self, library: Library) -> None:
        document = new_id()
        library.stage(["within thirty days"], document, headings=["Refunds", "Germany"])
        library.publish(["within thirty days"], document, stage=False)
        assert list(library.find("refund in Germany")) == ["within thirty days"]


class TestFollow:
    def test_of_a_deletion_takes_the_document_away(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document)
        library.publish(["grey fox"])
        library.delete(document)
        assert list(library.find("fox")) == ["grey fox"]
        assert library.words() == {("grey", 0): 1, ("fox", 0): 1}
        assert library.rows("indexes", "document_count", "chunk_count", "term_count") == [(1, 1, 2)]

    @pytest.mark.parametrize("published", [True, False])
    def test_of_a_deletion_keeps_it_away(self, library: Library, published: bool) -> None:
        document = new_id()
        if published:
            library.publish(["red fox"], document)
        else:
            library.stage(["red fox"], document)
        library.delete(document)
        with pytest.raises(VersionOutdated):
            library.stage(["red fox"], document, version=2)
        with pytest.raises(VersionOutdated):
            library.publish(["red fox"], document, stage=False)
        assert library.find("fox") == {}
        assert library.rows("staged_chunks", "ordinal", "text") == []

    def test_of_a_new_visibility_moves_the_words_to_whom_sees_them(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document)
        library.change(document, HIDDEN)
        audience = library.audience_of(document)
        assert audience != 0
        assert library.words() == {("red", audience): 1, ("fox", audience): 1}
        assert library.find("fox", audiences=[0]) == {}
        assert list(library.find("fox", audiences=[0, audience])) == ["red fox"]

    @pytest.mark.parametrize("first", [True, False])
    def test_of_an_update_is_not_undone_by_a_publish_that_knew_less(self, library: Library, first: bool) -> None:
        document = new_id()
        if first:
            library.stage(["red fox"], document)
        else:
            library.publish(["grey wolf"], document)
        library.change(document, HIDDEN, hours=1)
        library.publish(["red fox"], document, version=2)
        assert library.audience_of(document) != 0

    def test_of_an_update_is_undone_by_a_publish_that_knows_more(self, library: Library) -> None:
        document = new_id()
        library.change(document, HIDDEN, hours=1)
        library.publish(["red fox"], document, revision=2)
        assert library.audience_of(document) == 0

    def test_of_an_update_from_before_changes_nothing(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document, revision=2)
        library.change(document, HIDDEN, hours=1)
        assert library.audience_of(document) == 0

    def test_of_updates_goes_by_their_number_not_by_clocks(self, library: Library) -> None:
        document, unpublished = new_id(), new_id()
        library.publish(["red fox"], document, revision=1, update_time=NOON + timedelta(hours=9))
        # Of machines whose clocks differ.
        for changed in (document, unpublished):
            library.change(changed, HIDDEN, hours=2, revision=3)
            library.change(changed, SHOWN, hours=5, revision=2)
        library.publish(["red fox"], unpublished, update_time=NOON + timedelta(hours=9))
        assert library.audience_of(document) == library.audience_of(unpublished) != 0

    def test_of_names_and_tags_changes_what_filters_let_through(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document, tags=["draft"], metadata={"year": "2024"})
        assert library.find("fox", filter='tags:draft AND metadata.year = "2024"')
        library.change(document, replace(SHOWN, display_name="Lease", tags=("final",), metadata={"year": "2025"}))
        assert not library.find("fox", filter="tags:draft")
        assert library.find("fox", filter='display_name = "Lease" AND metadata.year = "2025" AND tags:final')


class TestAudiences:
    def test_have_the_author_in_them(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document, everyone=False, roles=[f"{library.workspace}/roles/admin"])
        audience = library.audience_of(document)
        with library.acting(), library.services.units() as uow:
            seen = uow.repo.audiences.seen_by
            assert seen(library.workspace_id, AUTHOR, "viewer") is None
            assert seen(library.workspace_id, new_id(), "admin") is None
            assert seen(library.workspace_id, new_id(), "viewer") == (0,)
        library.publish(["grey wolf"], everyone=False, members=[f"users/{new_id()}"])
        with library.acting(), library.services.units() as uow:
            assert uow.repo.audiences.seen_by(library.workspace_id, new_id(), "admin") == (0, audience)

    def test_of_one_visibility_are_one(self, library: Library) -> None:
        for _ in range(2):
            library.publish(["red fox"], everyone=False, roles=[f"{library.workspace}/roles/admin"])
        assert len(library.rows("audiences", "audience_id", "roles")) == 1

    def test_that_change_in_an_index_make_a_new_revision(self, library: Library) -> None:
        document = new_id()
        library.publish(["red fox"], document)
        before = library.snapshot().revision
        library.change(document, SHOWN)
        library.change(document, HIDDEN, hours=2)
        assert library.snapshot().revision > before
