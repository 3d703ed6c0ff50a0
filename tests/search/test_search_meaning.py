"""Search by meaning, and by both: what it finds, and what it says of it."""

from collections.abc import Callable

import pytest

from plinth.search.v1 import hit_pb2
from services.search.service import matching
from tests.search.archive import HYBRID, LEXICAL, SEMANTIC, Archive
from tests.search.topics import TOPICS, about


@pytest.fixture(scope="module")
def archive(new_archive: Callable[[], Archive]) -> Archive:
    """With passages enough for latent semantic vectors, a topic a document; that of law is for the member alone."""
    archive = new_archive()
    for topic in TOPICS:
        archive.put(topic, about(topic, 80), only=[archive.team.member] if topic == "law" else [])
    archive.library.make_vectors()
    return archive


def topics_of(archive: Archive, texts: list[str]) -> set[str]:
    return {topic for topic in TOPICS for text in texts if text in about(topic, 80)}


class TestSemantic:
    def test_finds_what_says_it_in_other_words(self, archive: Archive) -> None:
        found = archive.search("vessel", mode=SEMANTIC, page_size=60)
        texts = [archive.texts[hit.chunk] for hit in found.hits]
        assert topics_of(archive, texts) == {"sea"}
        assert any("vessel" not in text for text in texts)
        assert (found.mode, found.lexical_matches) == (SEMANTIC, 0)
        first = found.hits[0]
        assert (first.parts.semantic_rank, first.parts.lexical_rank) == (1, 0)
        assert first.score == first.parts.semantic_score <= 1.01
        assert (first.parts.lexical_weight, first.parts.semantic_weight) == (0, 1)

    def test_keeps_to_phrases_and_exclusions(self, archive: Archive) -> None:
        without = archive.find("ship -harbour", mode=SEMANTIC, page_size=20)
        assert without
        assert not [text for text in without if "harbour" in text]
        with_word = archive.find('ship "harbour"', mode=SEMANTIC, page_size=20)
        assert all("harbour" in text for text in with_word)

    def test_of_words_that_nobody_uses_finds_nothing(self, archive: Archive) -> None:
        assert archive.find('"qqqqqqqq"', mode=SEMANTIC) == []


class TestHybrid:
    def test_fuses_both(self, archive: Archive) -> None:
        answer = archive.search("vessel", page_size=60)
        assert answer.mode == HYBRID
        texts = [archive.texts[hit.chunk] for hit in answer.hits]
        assert topics_of(archive, texts) == {"sea"}
        by_meaning = [hit for hit in answer.hits if not hit.parts.lexical_rank]
        assert by_meaning
        assert len(by_meaning) < len(answer.hits)
        scores = [hit.score for hit in answer.hits]
        assert scores == sorted(scores, reverse=True)
        assert {hit.parts.lexical_weight + hit.parts.semantic_weight for hit in answer.hits} == {1}

    def test_pages_show_each_hit_once_in_the_order_of_one_page(self, archive: Archive) -> None:
        whole = archive.pages("vessel captain tide", page_size=100)
        assert [text for page in archive.pages("vessel captain tide", page_size=30) for text in page] == [
            text for page in whole for text in page
        ]
        assert len({text for page in whole for text in page}) == sum(map(len, whole))

    def test_explains_both_arms_of_a_hit(self, archive: Archive) -> None:
        hit = archive.search("vessel captain").hits[0]
        explained = archive.explain("vessel captain", archive.texts[hit.chunk])
        assert explained.hit.score == hit.score
        assert explained.hit.parts.semantic_score == hit.parts.semantic_score
        assert sum(term.score for term in explained.terms) == pytest.approx(hit.parts.lexical_score)

    def test_explains_what_is_found_by_meaning_alone(self, archive: Archive) -> None:
        hits = archive.search("vessel", mode=SEMANTIC, page_size=60).hits
        hit = next(hit for hit in hits if "vessel" not in archive.texts[hit.chunk])
        explained = archive.explain("vessel", archive.texts[hit.chunk], mode=SEMANTIC)
        assert explained.hit.parts == hit.parts
        assert explained.hit.score == hit.score == hit.parts.semantic_score
        assert not explained.terms

    def test_puts_first_what_is_meant_to_the_letter(self, archive: Archive) -> None:
        hits = archive.search("n0x7").hits
        assert {archive.texts[hit.chunk].split()[-1] for hit in hits[: len(TOPICS)]} == {"n0x7"}
        assert hits[0].parts.lexical_weight > hits[0].parts.semantic_weight

    def test_finds_nothing_near_that_the_caller_may_not_see(self, archive: Archive) -> None:
        viewer = archive.team.viewer
        for mode in (HYBRID, SEMANTIC, LEXICAL):
            pages = archive.pages("tribunal judge oath", viewer, mode=mode, page_size=100)
            assert "law" not in topics_of(archive, [text for page in pages for text in page])
        assert topics_of(archive, archive.find("tribunal", archive.team.member)) == {"law"}

    @pytest.mark.parametrize("mode", [HYBRID, SEMANTIC])
    @pytest.mark.parametrize("query", ["{}", "vessel {}", "captain vessel {} tide"])
    def test_answers_a_word_of_hidden_documents_alone_as_one_that_nobody_has(
        self, archive: Archive, mode: hit_pb2.SearchMode, query: str
    ) -> None:
        def answer(word: str) -> list[object]:
            found = archive.search(query.format(word), archive.team.viewer, mode=mode, page_size=50)
            return [found.corrected_query, found.lexical_matches, *((hit.chunk, hit.parts) for hit in found.hits)]

        assert archive.search("tribunal", archive.team.member, mode=mode).hits
        assert answer("tribunal") == answer("qqqqqqqq")

    def test_finds_a_phrase_that_neither_arm_ranks_high(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(matching, "ARM_DEPTH", 3)
        text = next(text for text in about("sea", 80) if "vessel n0x9" in text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matching, "MAX_HITS", 3)
            for mode in (HYBRID, SEMANTIC):
                assert archive.find('loaf bread flour oven dough "vessel n0x9"', mode=mode) == [text]
        pair = " ".join(text.split()[:2])
        expected = {one for topic in TOPICS for one in about(topic, 80) if pair in one}
        hybrid = archive.search(f'"{pair}"', page_size=100)
        assert {archive.texts[hit.chunk] for hit in hybrid.hits} <= expected
        assert hybrid.lexical_matches == len(expected)
        assert set(archive.find(f'"{pair}"', mode=SEMANTIC, page_size=100)) == expected

    def test_filters_before_it_ranks(self, archive: Archive) -> None:
        found = archive.find("vessel", filter='display_name = "food"', page_size=20)
        assert topics_of(archive, found) <= {"food"}
        assert topics_of(archive, archive.find("loaf", filter='display_name = "food"')) == {"food"}
