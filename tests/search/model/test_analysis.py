import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.model.analysis import MAX_WORD, stems, terms, words
from services.search.model.languages import STEMMERS, UNKNOWN


def read(text: str) -> list[str]:
    return [word.text for word in words(text)]


class TestWords:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("What's the plan, Ann?", ["what", "the", "plan", "ann"]),
            ("They don't; we’ll see.", ["they", "don", "we", "see"]),
            ("l'avion de O'Brien", ["l", "avion", "de", "o", "brien"]),
            ("C++ and C#, not C", ["c++", "and", "c#", "not", "c"]),
            ("pi is 3.14, not 1,234.5", ["pi", "is", "3.14", "not", "1234.5"]),
            ("version 1.2.3 at 192.168.0.1.", ["version", "1.2.3", "at", "192.168.0.1"]),
            ("[1,2] and 10:30", ["1", "2", "and", "10", "30"]),
            ("Ｆｕｌｌ ﬁne", ["full", "fine"]),
            ("e\u0301te\u0301", ["été"]),
            ("İstanbul", ["istanbul"]),
            ("co\u00adoperate", ["cooperate"]),
            ("zero\u200bwidth\ufeff word\u2060joiner", ["zerowidth", "wordjoiner"]),
            ("हिन्दी में", ["हिन्दी", "में"]),
            ("-- ... \u0301 \0", []),
        ],
    )
    def test_words_are_what_a_reader_takes_for_words(self, text: str, expected: list[str]) -> None:
        assert read(text) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("e-mail", ["e", "mail", "email"]),
            ("AB-1234", ["ab", "1234", "ab1234"]),
            ("joe.smith@acme.com", ["joe", "smith", "acme", "com", "joesmithacmecom"]),
            ("node.js", ["node", "js", "nodejs"]),
            ("foo_bar", ["foo", "bar", "foobar"]),
            ("a-b-c-d-e-f-g-h-i", ["a", "b", "c", "d", "e", "f", "g", "h", "i"]),
        ],
    )
    def test_a_compound_is_found_by_its_parts_and_as_one(self, text: str, expected: list[str]) -> None:
        assert read(text) == expected

    def test_a_compound_stands_where_its_first_part_does(self) -> None:
        boundary, layer, both, flow = words("boundary-layer flow")
        assert (boundary.position, layer.position, both.position, flow.position) == (0, 1, 0, 2)
        assert (both.start, both.end, both.compound) == (0, 14, True)

    def test_what_is_written_without_spaces_is_read_in_pairs(self) -> None:
        assert read("東京都に行く") == ["東京", "京都", "都に", "に行", "行く", "く"]
        assert read("iPhoneを買う") == ["iphone", "を買", "買う", "う"]
        assert read("ﾃﾞｰﾀ") == ["デー", "ータ", "タ"]

    def test_places_are_those_of_the_text_as_it_was_given(self) -> None:
        text = "Ｆｕｌｌ ﬁne ﾃﾞｰﾀ İstanbul"
        found = [text[word.start : word.end] for word in words(text)]
        assert found == ["Ｆｕｌｌ", "ﬁne", "ﾃﾞｰ", "ｰﾀ", "ﾀ", "İstanbul"]

    def test_an_endless_word_is_cut(self) -> None:
        assert read("x" * 1000) == ["x" * MAX_WORD]

    @given(st.text())
    def test_any_text_can_be_read(self, text: str) -> None:
        found = words(text)
        assert all(0 <= word.start < word.end <= len(text) for word in found)
        assert all(0 < len(word.text) <= MAX_WORD and "\0" not in word.text for word in found)
        positions = [word.position for word in found if not word.compound]
        assert positions == list(range(len(positions)))


class TestTerms:
    def test_forms_of_a_word_are_one_term(self) -> None:
        assert terms("Connection, connected: connecting!", "en") == {"connect": 3}

    def test_accents_may_be_left_out(self) -> None:
        assert terms("résumé", "fr") == terms("resume", "fr")
        assert terms("Crème brûlée", "en") == terms("creme brulee", "en")

    @pytest.mark.parametrize("language", ["de", "en", UNKNOWN])
    def test_letters_that_a_keyboard_lacks_may_be_spelled_out(self, language: str) -> None:
        assert terms("Straße Łódź", language) == terms("strasse lodz", language)

    def test_letters_that_are_no_accented_ones_stay(self) -> None:
        assert terms("мой", UNKNOWN) == {"мой": 1}

    def test_without_a_stemmer_words_are_terms(self) -> None:
        assert terms("houses house", UNKNOWN) == {"houses": 1, "house": 1}
        assert terms("houses", "xx") == {"houses": 1}

    @given(st.text(), st.sampled_from(sorted(STEMMERS)))
    def test_each_word_has_a_term_in_each_language(self, text: str, language: str) -> None:
        found = terms(text, language)
        assert "" not in found
        assert found.total() == len(words(text))

    def test_threads_do_not_share_a_stemmer(self) -> None:
        surface = ["connections", "relational", "hopefulness", "running"] * 500
        alone = stems(surface, "en")
        with ThreadPoolExecutor(4) as pool:
            assert all(found == alone for found in pool.map(lambda _: stems(surface, "en"), range(16)))

    def test_remembers_none_of_them(self) -> None:
        """A worker has a stemmer for each thread and language, and reads for weeks."""
        stems(["warm"], "en")
        before = len(gc.get_objects())
        for number in range(3_000):
            stems([f"reading{number}"], "en")
        assert len(gc.get_objects()) - before < 1_000
