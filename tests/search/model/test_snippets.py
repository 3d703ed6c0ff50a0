from hypothesis import given
from hypothesis import strategies as st

from services.search.model.query import parse
from services.search.model.snippets import LENGTH, Snippet, snippet

FILLER = "Nothing of interest is said in this sentence, which is there to fill the page. "


def find(text: str, query: str, language: str = "en") -> Snippet:
    return snippet(text, language, parse(query, frozenset({language})).groups)


def lit(found: Snippet) -> list[str]:
    return [found.text[start:end] for start, end in found.highlights]


class TestSnippet:
    def test_a_short_text_is_shown_whole(self) -> None:
        found = find("Flow over\na flat plate.", "plates")
        assert (found.text, lit(found)) == ("Flow over a flat plate.", ["plate"])

    def test_it_is_where_the_words_are(self) -> None:
        found = find(FILLER * 9 + "The boundary layer separates there. " + FILLER * 9, "separated layers")
        assert found.text.startswith("The boundary layer separates there.")
        assert lit(found) == ["layer", "separates"]
        assert len(found.text) <= LENGTH

    def test_all_words_together_beat_one_word_often(self) -> None:
        text = "Wings, wings and wings. " * 5 + FILLER * 5 + "A wing in a slipstream. " + FILLER * 5
        assert lit(find(text, "wing slipstream")) == ["wing", "slipstream"]

    def test_words_side_by_side_beat_words_apart(self) -> None:
        text = "Layer of a boundary. " + FILLER * 5 + "A boundary layer. " + FILLER * 5
        assert find(text, "boundary layer").text.startswith("A boundary layer.")

    def test_forms_of_the_chunks_language_are_lit(self) -> None:
        assert lit(find("Die Häuser am See", "Haus", "de")) == ["Häuser"]

    def test_a_compound_is_lit_whole(self) -> None:
        assert lit(find("Write an e-mail today", "email")) == ["e-mail"]
        assert lit(find("See AB-1234 there", "ab-1234")) == ["AB-1234"]

    def test_pairs_of_letters_are_lit_as_one(self) -> None:
        assert lit(find("私は東京都に住む", "東京都", "")) == ["東京都"]

    def test_without_any_of_the_words_it_is_the_beginning(self) -> None:
        found = find(FILLER * 9, "zebra")
        assert found.highlights == ()
        assert (FILLER * 9).startswith(found.text)

    def test_words_are_not_cut(self) -> None:
        text = "antidisestablishmentarianism " * 40 + "zebra " + "antidisestablishmentarianism " * 40
        assert set(find(text, "zebra").text.split()) == {"antidisestablishmentarianism", "zebra"}

    @given(st.text(alphabet="ab zy.\n東京-"), st.text(alphabet="ab zy東京-"), st.integers(10, 60))
    def test_it_is_a_piece_of_the_text_with_words_lit_that_were_asked_for(
        self, text: str, query: str, length: int
    ) -> None:
        groups = parse(query, frozenset({"en"})).groups
        found = snippet(text, "en", groups, length)
        assert len(found.text) <= max(length, 1)
        assert found.text in text.replace("\n", " ")
        ends = [place for span in found.highlights for place in span]
        assert ends == sorted(set(ends))
