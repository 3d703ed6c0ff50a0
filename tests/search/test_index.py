"""The index as people see it: looked at, set up, and built anew."""

from datetime import UTC, timedelta
from uuid import UUID

import grpc
import pytest

from plinth.search.v1 import index_pb2
from plinth.search.v1 import index_service_pb2 as pb
from plinth.search.v1.events_pb2 import IndexUpdated
from services.search.service.maintenance import MAINTAIN
from tests.search.library import NOON, Library
from tests.support.errors import refused
from tests.support.people import People, Person
from tests.tenancy.team import Team

CODE = grpc.StatusCode
OPENAI, NONE = index_pb2.EMBEDDER_KIND_OPENAI, index_pb2.EMBEDDER_KIND_NONE


@pytest.fixture
def owner(people: People, library: Library) -> Person:
    """Who owns the workspace that the library is in."""
    person = people.new("owner")
    library.workspace_id = UUID(people.workspace_of(person).name.removeprefix("workspaces/"))
    return person


@pytest.fixture
def team(people: People, owner: Person, library: Library) -> Team:
    """Who else is in that workspace."""
    return Team(people, owner, library.workspace, library.database)


def get(owner: Person, library: Library) -> index_pb2.Index:
    return owner.stubs.index.GetIndex(pb.GetIndexRequest(name=f"{library.workspace}/index")).index


def update(owner: Person, index: index_pb2.Index, *mask: str) -> index_pb2.Index:
    request = pb.UpdateIndexRequest(index=index)
    request.update_mask.paths.extend(mask)
    return owner.stubs.index.UpdateIndex(request).index


class TestGet:
    def test_counts_what_can_be_found(self, owner: Person, library: Library) -> None:
        assert get(owner, library).document_count == 0
        library.publish(["ein Fuchs", "ein Wolf"], language="de")
        library.publish(["red fox"])
        library.publish(["grey fox"])
        index = get(owner, library)
        assert (index.document_count, index.passage_count, index.term_count) == (3, 4, 8)
        assert list(index.languages) == ["de", "en"]
        assert (index.embedder, index.log_queries) == (index_pb2.EMBEDDER_KIND_LSA, True)

    def test_counts_nothing_that_the_caller_does_not_see(self, owner: Person, team: Team, library: Library) -> None:
        library.publish(["ein Fuchs", "ein Wolf"], language="de")
        before = get(team.viewer, library)
        later, members = NOON + timedelta(days=1), [team.member.name]
        for language in ("en", "fr", "es"):
            texts = ["red fox", "grey wolf"]
            library.publish(texts, language=language, update_time=later, everyone=False, members=members)
        seen = get(team.viewer, library)
        assert (seen.document_count, seen.passage_count, seen.term_count, list(seen.languages)) == (1, 2, 4, ["de"])
        assert seen.update_time.ToDatetime(UTC) == NOON
        assert before.document_count == seen.document_count
        for person in (owner, team.member):
            index = get(person, library)
            assert (index.document_count, index.passage_count, index.term_count) == (4, 8, 16)
            assert list(index.languages) == ["de", "en", "es", "fr"]

    def test_is_for_those_who_may_read_documents(self, owner: Person, people: People, library: Library) -> None:
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            get(people.new("stranger"), library)


class TestUpdate:
    def test_sets_what_the_mask_names(self, owner: Person, library: Library) -> None:
        before = get(owner, library)
        after = update(owner, index_pb2.Index(name=before.name, etag=before.etag, embedder=NONE), "embedder")
        assert (after.embedder, after.log_queries) == (NONE, True)
        assert after == get(owner, library)
        assert after.etag != before.etag
        with refused(CODE.ABORTED, "ETAG_MISMATCH"):
            update(owner, before, "log_queries")
        [told] = library.events(IndexUpdated)
        assert told == IndexUpdated(index=before.name, changed_fields=["embedder"], embedder=NONE, log_queries=True)

    def test_that_changes_nothing_makes_no_new_etag(self, owner: Person, library: Library) -> None:
        before = get(owner, library)
        assert update(owner, before, "*").etag == before.etag

    def test_refuses_an_embedder_that_is_not_there(self, owner: Person, library: Library) -> None:
        before = get(owner, library)
        with refused(CODE.FAILED_PRECONDITION, "EMBEDDER_NOT_CONFIGURED"):
            update(owner, index_pb2.Index(name=before.name, etag=before.etag, embedder=OPENAI))


class TestRebuild:
    def test_asks_a_worker_once(self, owner: Person, library: Library) -> None:
        library.publish(["red fox"])
        for _ in range(2):
            owner.stubs.index.RebuildIndex(pb.RebuildIndexRequest(name=f"{library.workspace}/index"))
        assert library.jobs(MAINTAIN) == 1
        library.maintain()
        assert list(library.find("fox")) == ["red fox"]
        assert library.rows("indexes", "rebuilding", "chunk_count") == [(False, 1)]


class TestDocuments:
    def test_of_another_workspace_are_refused(self, library: Library) -> None:
        request = pb.StageChunksRequest(
            parent=library.workspace, document=f"workspaces/{UUID(int=1)}/documents/{UUID(int=2)}", version=1
        )
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            library.stubs.index.StageChunks(request)

    def test_without_vectors_lack_none(self, library: Library) -> None:
        library.stage(["red fox"], UUID(int=3))
        request = pb.EmbedChunksRequest(parent=library.workspace, document=library.name_of(UUID(int=3)), version=1)
        assert library.stubs.index.EmbedChunks(request).remaining == 0
