"""What search never tells: of another tenant, and of documents that the caller may not see."""

from collections.abc import Callable

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from plinth.identity.v1 import api_key_pb2
from plinth.identity.v1 import api_key_service_pb2 as api_keys
from plinth.search.v1 import hit_pb2
from plinth.search.v1 import search_service_pb2 as pb
from tests.search.archive import Archive
from tests.support.errors import refused
from tests.support.people import Person
from tests.support.stubs import Stubs, with_token

CODE = grpc.StatusCode
SHARED = ["the red fox", "a grey wolf", "red wine"]


def fill(archive: Archive) -> None:
    archive.put("Shared", SHARED)


def answers(archive: Archive) -> list[object]:
    """All that can be asked, without what names one workspace."""
    answer = archive.search("red foxx", page_size=1)
    hit = answer.hits[0]
    return [
        (hit.score, hit.parts.lexical_score, answer.corrected_query, answer.lexical_matches),
        archive.pages("red", page_size=1),
        archive.suggest("re") + archive.suggest("sh") + archive.suggest("con"),
        archive.search("confidental").corrected_query,
        [
            MessageToDict(explained.terms[0])
            | {"passages": explained.passage_count, "length": explained.average_length}
            for explained in [archive.explain("red", "the red fox")]
        ],
    ]


class TestTenants:
    def test_find_count_and_score_as_if_they_were_alone(self, new_archive: Callable[[], Archive]) -> None:
        alone = new_archive()
        fill(alone)
        expected = answers(alone)
        one, other = new_archive(), new_archive()
        fill(one)
        fill(other)
        other.put("Confidential", ["red red foxx", "confidential contract", "redder than red"])
        assert answers(one) == expected
        assert answers(other) != expected

    def test_are_not_found_by_others(self, new_archive: Callable[[], Archive]) -> None:
        one, other = new_archive(), new_archive()
        fill(one)
        fill(other)
        stubs = other.team.owner.stubs.search
        [hit] = one.search("fox").hits
        for ask in (
            lambda: stubs.Search(pb.SearchRequest(parent=one.workspace, query="fox")),
            lambda: stubs.Suggest(pb.SuggestRequest(parent=one.workspace, query="fo")),
            lambda: stubs.ExplainHit(pb.ExplainHitRequest(parent=one.workspace, query="fox", chunk=hit.chunk)),
            lambda: stubs.ExplainHit(pb.ExplainHitRequest(parent=other.workspace, query="fox", chunk=hit.chunk)),
        ):
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                ask()
        name = f'document = "{hit.document}"'
        assert not other.search("fox", filter=name).hits
        token = one.search("red", page_size=1).next_page_token
        with refused(CODE.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
            other.search("red", page_size=1, page_token=token)

    def test_tell_no_times(self, new_archive: Callable[[], Archive]) -> None:
        """How long an answer took says something of what else there is; who waits for it can only measure all of it."""
        archive = new_archive()
        fill(archive)
        request = pb.SearchRequest(parent=archive.workspace, query="fox")
        answer, call = archive.team.owner.stubs.search.Search.with_call(request)
        assert answer.hits
        told = {key for key, _ in (*call.initial_metadata(), *call.trailing_metadata())}
        assert told <= {"x-request-id", "content-type"}
        fields = {field.name for message in (pb.SearchResponse, hit_pb2.Hit) for field in message.DESCRIPTOR.fields}
        assert not {field for field in fields if any(word in field for word in ("time", "took", "duration", "seconds"))}


class TestVisibility:
    @pytest.fixture
    def archive(self, new_archive: Callable[[], Archive]) -> Archive:
        """With documents that the member alone sees, besides the owner; the viewer sees what is shared."""
        archive = new_archive()
        fill(archive)
        archive.put("Confidential", ["confidential red contract", "redder foxx"], only=[archive.team.member])
        return archive

    def test_hides_hits_counts_words_and_names(self, archive: Archive) -> None:
        viewer, member = archive.team.viewer, archive.team.member
        assert archive.find("contract", viewer) == []
        assert archive.search("red", viewer).lexical_matches == 2
        assert archive.suggest("con", viewer) == []
        assert archive.suggest("redd", viewer) == []
        assert archive.search("confidental", viewer).corrected_query == ""
        assert archive.search("foxx", viewer).corrected_query == "fox"
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            archive.explain("red", "confidential red contract", viewer)
        for person in (member, archive.team.owner):
            assert archive.find("contract", person) == ["confidential red contract"]
            assert archive.search("red", person).lexical_matches == 3
            assert archive.suggest("con", person) == ["Confidential", "confidential", "contract"]
            assert archive.search("confidental", person).corrected_query == "confidential"
            assert archive.search("foxx", person).corrected_query == ""
            assert archive.explain("red", "confidential red contract", person).terms[0].passage_frequency == 3

    def test_scores_as_if_what_is_hidden_were_not_there(self, archive: Archive) -> None:
        explained = archive.explain("red contract", "the red fox", archive.team.viewer)
        assert [term.passage_frequency for term in explained.terms] == [2, 0]
        assert explained.passage_count == 3

        def score(person: Person) -> float:
            return archive.search("red", person).hits[0].score

        assert score(archive.team.viewer) != score(archive.team.member)

    def test_lets_the_author_and_an_api_key_see_what_its_creator_sees(self, archive: Archive) -> None:
        admin = archive.team.admin
        archive.put("Mine", ["a purple cow"], admin, only=[archive.team.member])
        key = api_key_pb2.ApiKey(display_name="Search", permissions=["search.query"])
        request = api_keys.CreateApiKeyRequest(parent=archive.workspace, api_key=key)
        secret = admin.stubs.api_keys.CreateApiKey(request).secret
        stubs = Stubs(with_token(admin.stubs.channel, secret))
        query = pb.SearchRequest(parent=archive.workspace, query="purple")
        assert len(stubs.search.Search(query).hits) == 1
        assert archive.find("purple", admin) == ["a purple cow"]
        assert archive.find("purple", archive.team.viewer) == []
        hidden = pb.SearchRequest(parent=archive.workspace, query="contract")
        assert not stubs.search.Search(hidden).hits
