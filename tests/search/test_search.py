"""Search: what is found, in which order, and how it is shown."""

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from plinth.documents.v1 import document_service_pb2
from plinth.search.v1 import index_service_pb2
from services.kernel.ids import new_id
from services.search.model.names import DOCUMENT
from tests.search.archive import LEXICAL, SEMANTIC, Archive
from tests.support.errors import refused

CODE = grpc.StatusCode


class TestLexical:
    def test_finds_forms_of_the_words_and_shows_where_they_stand(self, archive: Archive) -> None:
        document = archive.put("Lease.pdf", ["The tenant terminates the lease.", "Rent is due."], headings=["Ending"])
        answer = archive.search("termination leases")
        assert (answer.mode, answer.lexical_matches, answer.next_page_token) == (LEXICAL, 1, "")
        [hit] = answer.hits
        assert (hit.document, hit.display_name, hit.version) == (document.name, "Lease.pdf", 1)
        assert [hit.snippet[light.start : light.end] for light in hit.highlights] == ["terminates", "lease"]
        assert list(hit.position.headings) == ["Ending"]
        assert hit.score == hit.parts.lexical_score > 0
        assert (hit.parts.lexical_rank, hit.parts.semantic_rank, hit.parts.lexical_weight) == (1, 0, 1)

    def test_finds_only_passages_with_the_phrase_and_without_what_is_excluded(self, archive: Archive) -> None:
        archive.put("a", ["red fox", "fox red", "a red fox den", "red wolf"])
        assert archive.find('"red fox"') == ["red fox", "a red fox den"]
        assert archive.find('"red fox" -den') == ["red fox"]
        assert archive.find('red -"red fox" -wolf') == ["fox red"]

    def test_takes_line_ends_of_what_was_pasted_for_spaces(self, archive: Archive) -> None:
        archive.put("a", ["a red fox den", "fox red", "red wolf"])
        assert archive.find('"red\r\nfox"\u2028\t-wolf') == ["a red fox den"]
        assert archive.find("a red\n\tfox den")[0] == "a red fox den"
        [chunk] = [one for one, passage in archive.texts.items() if passage == "fox red"]
        assert archive.explain("fox\nred", "fox red").hit.chunk == chunk

    def test_looks_past_what_only_has_the_words_of_the_phrase(self, archive: Archive) -> None:
        archive.put("a", [f"fox red fox red n{number}" for number in range(40)])
        archive.put("b", ["a long passage in which somewhere a red then a fox, a fox red and a quick red vixen stand"])
        assert archive.find('"quick red vixen"', page_size=2) == archive.find("vixen")

    def test_filters_before_it_ranks(self, archive: Archive) -> None:
        archive.put("a", ["red fox"] * 1, tags=["draft"], metadata={"year": "2024"})
        archive.put("b", ["red fox again"], tags=["final"], metadata={"year": "2025"})
        assert archive.find("fox", filter='tags:"draft"') == ["red fox"]
        assert archive.find("fox", filter='metadata.year = "2025" AND display_name = "b"') == ["red fox again"]
        with refused(CODE.INVALID_ARGUMENT, "FILTER_INVALID"):
            archive.search("fox", filter="colour = 1")

    def test_collapses_hits_by_document(self, archive: Archive) -> None:
        archive.put("a", ["fox one", "fox two two", "fox three three three"])
        archive.put("b", ["fox four four four four"])
        hits = archive.search("fox", collapse_documents=True).hits
        assert [(archive.texts[hit.chunk], hit.more_in_document) for hit in hits] == [
            ("fox one", 2),
            ("fox four four four four", 0),
        ]
        pages = archive.pages("fox", collapse_documents=True, page_size=1)
        assert pages == [["fox one"], ["fox four four four four"]]

    def test_of_nothing_finds_nothing(self, archive: Archive) -> None:
        assert not archive.search("fox").hits
        archive.put("a", ["red fox"])
        assert not archive.search("...").hits
        assert not archive.search("the 北", filter='display_name = "b"').hits

    def test_stems_words_in_each_language_of_the_workspace(self, archive: Archive) -> None:
        archive.put("de", ["die alten Häuser"], language="de-AT")
        archive.put("en", ["the old houses"])
        archive.put("unknown", ["xyzzying"], language="")
        assert archive.find("Haus") == ["die alten Häuser"]
        assert archive.find("house") == ["the old houses"]
        assert archive.find("xyzzying") == ["xyzzying"]


class TestWording:
    def test_completes_the_last_word_while_it_is_typed(self, archive: Archive) -> None:
        archive.put("a", ["the tenancy agreement", "an agreeable tenant", "a tent"])
        assert archive.find("agreement tenan", prefix=True) == ["the tenancy agreement", "an agreeable tenant"]
        assert archive.find("tenancy agreem") == ["the tenancy agreement"]
        assert archive.search("tenancy agreem").corrected_query == ""

    def test_corrects_what_no_passage_has(self, archive: Archive) -> None:
        archive.put("a", ["the tenancy agreement", "a tenant of the house"])
        answer = archive.search("tenancy agrement of")
        assert answer.corrected_query == "tenancy agreement of"
        assert [archive.texts[hit.chunk] for hit in answer.hits] == ["the tenancy agreement"]
        assert archive.search('"agrement"').corrected_query == ""
        assert archive.search("tenancy").corrected_query == ""
        assert archive.search("zzzzzzzz").corrected_query == ""


class TestPaging:
    def test_shows_each_hit_once_in_the_order_of_one_page(self, archive: Archive) -> None:
        archive.put("a", [f"fox {'and so on ' * number}" for number in range(7)])
        whole = archive.find("fox", page_size=100)
        assert archive.pages("fox", page_size=3) == [whole[:3], whole[3:6], whole[6:]]
        assert archive.pages("fox", page_size=7) == [whole]

    def test_shows_none_twice_where_the_index_changes_meanwhile(self, archive: Archive) -> None:
        gone = archive.put("a", ["fox", "fox fox wolf", "fox bear"])
        archive.put("b", ["fox wolf bear", "fox hare hare hare"])
        first = archive.search("fox", page_size=2)
        shown = {hit.chunk for hit in first.hits}
        archive.put("c", ["fox fox", "fox fox hare"])
        second = archive.search("fox", page_size=100, page_token=first.next_page_token)
        assert len(second.hits) == 5
        assert not shown & {hit.chunk for hit in second.hits}
        archive.library.delete(archive.id_of(gone))
        third = archive.search("fox", page_size=100, page_token=first.next_page_token)
        assert not {hit.chunk for hit in third.hits} & shown
        assert gone.name not in {hit.document for hit in third.hits}

    def test_shows_no_document_twice_where_it_changes_meanwhile(self, archive: Archive) -> None:
        for name in "abcd":
            archive.put(name, [f"fox {name}", f"fox fox {name}", f"a hare {name}"])
        first = archive.search("fox", page_size=2, collapse_documents=True)
        shown = {hit.document for hit in first.hits}
        # Of a document that was shown, another passage is the best by now.
        changed = min(shown)
        archive.library.publish(["fox fox fox"], DOCUMENT.ids(changed)[1], version=2, author=archive.team.owner.name)
        archive.put("e", ["fox"])
        second = archive.search("fox", page_size=9, collapse_documents=True, page_token=first.next_page_token)
        found = [hit.document for hit in second.hits]
        assert len(found) == len(set(found)) == 3
        assert not shown.intersection(found)

    @pytest.mark.parametrize(
        "changed",
        [{"query": "wolf"}, {"filter": 'display_name = "a"'}, {"mode": LEXICAL}, {"collapse_documents": True}],
    )
    def test_takes_a_token_for_its_own_query_alone(self, archive: Archive, changed: dict[str, object]) -> None:
        archive.put("a", ["fox", "fox wolf"])
        token = archive.search("fox", page_size=1).next_page_token
        with refused(CODE.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
            archive.search(**({"query": "fox", "page_size": 1, "page_token": token} | changed))  # type: ignore[arg-type]


class TestResolving:
    def test_shows_nothing_of_what_is_deleted_or_hidden_before_the_index_hears_of_it(self, archive: Archive) -> None:
        member = archive.team.member
        gone, hidden = archive.put("gone", ["fox"]), archive.put("hidden", ["fox fox"])
        archive.put("there", ["a fox, who is there"])
        archive.team.owner.stubs.documents.DeleteDocument(
            document_service_pb2.DeleteDocumentRequest(name=gone.name, etag=gone.etag)
        )
        hidden.visibility.kind = hidden.visibility.KIND_ROLES
        hidden.visibility.roles.append(archive.team.role("admin"))
        request = document_service_pb2.UpdateDocumentRequest(document=hidden)
        request.update_mask.paths.append("visibility")
        archive.team.owner.stubs.documents.UpdateDocument(request)
        assert archive.find("fox", member, page_size=1) == ["a fox, who is there"]
        assert archive.find("fox", page_size=5) == ["fox fox", "a fox, who is there"]

    def test_shows_the_name_of_now(self, archive: Archive) -> None:
        document = archive.put("old name", ["fox"])
        document.display_name = "new name"
        request = document_service_pb2.UpdateDocumentRequest(document=document)
        request.update_mask.paths.append("display_name")
        archive.team.owner.stubs.documents.UpdateDocument(request)
        assert [hit.display_name for hit in archive.search("fox").hits] == ["new name"]
        assert archive.suggest("old") == ["new name"]


class TestSemantic:
    def test_is_refused_where_there_are_no_vectors(self, archive: Archive) -> None:
        archive.put("a", ["red fox"])
        with refused(CODE.FAILED_PRECONDITION, "SEMANTIC_UNAVAILABLE") as refusal:
            archive.search("fox", mode=SEMANTIC)
        assert refusal.metadata["embedder"] == "EMBEDDER_KIND_LSA"


class TestExplain:
    def test_sums_up_to_the_lexical_score(self, archive: Archive) -> None:
        archive.put("a", ["the red fox and the fox", "a red wolf", "grey bears"])
        [hit, _] = archive.search("red foxes").hits
        explained = archive.explain("red foxes", "the red fox and the fox")
        assert [(term.word, list(term.terms), term.frequency, term.passage_frequency) for term in explained.terms] == [
            ("red", ["red"], 1, 2),
            ("foxes", ["fox"], 2, 1),
        ]
        assert sum(term.score for term in explained.terms) == pytest.approx(hit.parts.lexical_score)
        assert explained.hit.parts == hit.parts
        assert explained.hit.score == hit.score
        assert (explained.passage_count, explained.length) == (3, 6)
        assert explained.average_length == pytest.approx(11 / 3)

    def test_tells_of_a_passage_that_does_not_match(self, archive: Archive) -> None:
        archive.put("a", ["red fox", "grey wolf"])
        explained = archive.explain("fox", "grey wolf")
        assert explained.hit.parts.lexical_rank == 0
        assert [(term.frequency, term.score) for term in explained.terms] == [(0, 0)]

    def test_is_of_the_search_that_it_is_asked_with(self, archive: Archive) -> None:
        archive.put("a", ["red fox", "a red foxglove, which is no animal"], tags=["kept"])
        archive.put("b", ["red fox fox"])
        for query, fields in (
            ("fox", {"filter": "tags:kept"}),
            ("red fox", {"prefix": True}),
            ("redd fox", {}),
            ('"red fox" -glove', {"mode": LEXICAL}),
        ):
            hits = archive.search(query, **fields).hits
            for hit in hits:
                explained = archive.explain(query, archive.texts[hit.chunk], **fields)
                assert (explained.hit.score, explained.hit.parts) == (hit.score, hit.parts)
                assert sum(term.score for term in explained.terms) == pytest.approx(hit.parts.lexical_score)
            assert hits
        [term] = archive.explain("fox", "red fox fox", filter="tags:kept").terms
        assert (term.frequency, term.passage_frequency) == (2, 2)
        assert archive.explain("fox", "red fox fox", filter="tags:kept").hit.parts.lexical_rank == 0
        [_, fox] = archive.explain("red fox", "red fox", prefix=True).terms
        assert list(fox.terms) == ["fox", "foxglov"]
        [red, _] = archive.explain("redd fox", "red fox").terms
        assert red.word == "red"

    def test_knows_no_passage_that_is_not_there(self, archive: Archive) -> None:
        archive.put("a", ["red fox"])
        archive.texts[str(new_id())] = "made up"
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            archive.explain("fox", "made up")


class TestSuggest:
    def test_completes_the_last_word_and_names_of_documents(self, archive: Archive) -> None:
        archive.put("Contract with ÖBB", ["contractual terms", "contracts and contractual duties"])
        assert archive.suggest("contr") == ["Contract with ÖBB", "contractual", "contracts"]
        assert archive.suggest("sign the contr") == ["sign the contractual", "sign the contracts"]
        assert archive.suggest("contract WITH ö") == ["Contract with ÖBB"]
        assert archive.suggest("contr", count=2) == ["Contract with ÖBB", "contractual"]
        assert archive.suggest("contract ") == ["Contract with ÖBB"]
        assert archive.suggest("%") == archive.suggest("  ") == []

    def test_of_a_compound_knows_those_that_stand_in_documents(self, archive: Archive) -> None:
        archive.put("A", ["a multi-agent system against e-mail", "agents and multi-storey houses", "state-of-the-art"])
        assert archive.suggest("two multi-a") == ["two multi-agent"]
        assert archive.suggest("Multi-") == []
        assert archive.suggest("e-ma") == ["e-mail"]
        assert archive.suggest("state-of-the-a") == ["state-of-the-art"]
        assert archive.suggest("multi-h") == []

    def test_knows_the_most_frequent_of_very_many_words(self, archive: Archive) -> None:
        archive.put("X", ["fox", "fox and wolf"])
        archive.library.database.execute(
            "insert into search.vocabulary (workspace_id, word, audience_id, passages, generation)"
            " select %s, 'fa' || number, 0, 1, 0 from generate_series(1, 20000) number",
            [archive.library.workspace_id],
        )
        assert archive.suggest("f", count=1) == ["fox"]


class TestLog:
    def test_keeps_each_query_once(self, archive: Archive) -> None:
        member = archive.team.member
        archive.put("a", ["red fox", "grey fox"])
        archive.pages("fox", page_size=1)
        archive.search("foxx bear", member, filter='display_name = "a"', mode=LEXICAL)
        archive.search("secret", unlogged=True)
        assert archive.logged() == [
            ("fox", "lexical", "", "", 2, archive.team.owner.user_id),
            ("foxx bear", "lexical", 'display_name = "a"', "fox bear", 2, member.user_id),
        ]

    def test_keeps_none_where_the_workspace_wants_none(self, archive: Archive) -> None:
        archive.put("a", ["red fox"])
        archive.search("fox")
        stubs, name = archive.team.owner.stubs.index, f"{archive.workspace}/index"
        index = stubs.GetIndex(index_service_pb2.GetIndexRequest(name=name)).index
        mask = FieldMask(paths=["log_queries"])
        for log_queries, query in ((False, "wolf"), (True, "bear")):
            index.log_queries = log_queries
            index = stubs.UpdateIndex(index_service_pb2.UpdateIndexRequest(index=index, update_mask=mask)).index
            archive.search(query)
        # A worker may have deleted the first by now.
        assert [query for query, *_ in archive.logged() if query != "fox"] == ["bear"]

    def test_forgets_after_ninety_days(self, archive: Archive) -> None:
        library = archive.library
        archive.search("old")
        library.database.execute(
            "update search.queries set create_time = now() - interval '91 days' where workspace_id = %s",
            [library.workspace_id],
        )
        archive.search("new")
        library.services.housekeeping.sweep(lambda: None)
        assert [query for query, *_ in archive.logged()] == ["new"]
