import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.model.languages import STEMMERS, UNKNOWN
from services.search.model.query import MAX_TERMS, MAX_WORDS, Group, parse, sentence, spoken, terms_of

ENGLISH = frozenset({"en"})


def asked(text: str, languages: frozenset[str] = ENGLISH) -> list[str]:
    return [group.word for group in parse(text, languages).groups]


class TestWords:
    def test_each_word_is_looked_for_in_each_language_of_the_workspace(self) -> None:
        (group,) = parse("Häuser", frozenset({"de", "en", UNKNOWN})).groups
        assert group.terms == ("hauser", "haus")

    def test_words_that_say_nothing_are_left_out(self) -> None:
        assert asked("what is the price of a house") == ["price", "house"]

    def test_unless_they_are_all_there_is(self) -> None:
        assert asked("to be or not to be") == ["to", "be", "or", "not"]

    def test_or_stand_out(self) -> None:
        assert asked("who runs IT in the US") == ["runs", "it", "us"]
        assert asked("WHO RUNS THE SHOP") == ["runs", "shop"]

    def test_a_word_that_says_nothing_elsewhere_is_kept(self) -> None:
        assert asked("what are war crimes", frozenset({"de", "en"})) == ["war", "crimes"]
        assert asked("das war der Vertrag", frozenset({"de", "en"})) == ["vertrag"]

    def test_what_is_asked_twice_counts_twice(self) -> None:
        weights = {group.word: group.weight for group in parse("new york new jersey", ENGLISH).groups}
        assert weights == {"new": 2.0, "york": 1.0, "jersey": 1.0}

    def test_a_compound_is_looked_for_as_its_parts_and_as_one(self) -> None:
        groups = parse("e-mail", ENGLISH).groups
        assert [(group.word, group.weight, group.compound) for group in groups] == [
            ("e", 1.0, False),
            ("mail", 1.0, False),
            ("email", 0.5, True),
        ]

    @pytest.mark.parametrize("text", ["", "   ", "?!", '""', "-", '-""'])
    def test_nothing_asks_for_nothing(self, text: str) -> None:
        assert parse(text, ENGLISH).groups == ()

    def test_an_endless_query_is_cut(self) -> None:
        assert len(asked(" ".join(f"w{number}" for number in range(1000)))) == MAX_WORDS

    def test_one_that_stands_for_too_many_terms_is_cut(self) -> None:
        text = " ".join(f"{first}{second}runninga" for first in "abcdefgh" for second in "ijklmnop")
        query = parse(text, frozenset(STEMMERS))
        assert 0 < len(query.groups) < MAX_WORDS == len(text.split())
        assert len(query.terms) <= MAX_TERMS

    def test_a_word_has_no_more_completions_than_there_is_room_for(self) -> None:
        [group] = parse("proj", ENGLISH).groups
        assert group.also(["project", "projector", "projected"], ENGLISH, 1).terms == ("proj", "project")

    def test_is_said_without_what_is_excluded(self) -> None:
        assert spoken('the "red fox" -wolf  -"grey owl" again') == "the red fox again"
        assert spoken('-"grey owl" -wolf') == "grey owl wolf"
        assert spoken("grep -v e-mail") == "grep -v e-mail"

    def test_pairs_of_letters_are_asked_for_as_pairs(self) -> None:
        assert asked("東京都", frozenset({UNKNOWN})) == ["東京", "京都"]

    @given(
        st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from('"- ')),
        st.sets(st.sampled_from(sorted(STEMMERS))),
    )
    def test_anything_can_be_asked(self, text: str, languages: set[str]) -> None:
        query = parse(text, frozenset(languages))
        assert all(group.terms and group.weight > 0 for group in [*query.groups, *query.required, *query.excluded])
        query.admits(text)


class TestPhrases:
    def test_a_phrase_is_found_word_for_word(self) -> None:
        query = parse('"boundary layer" flow', ENGLISH)
        assert query.phrases == (("boundary", "layer"),)
        assert [group.terms for group in query.required] == [("boundari",), ("layer",)]
        assert query.admits("The Boundary-Layer, again")
        assert not query.admits("a layer without a boundary")
        assert not query.admits("boundary layers")

    def test_its_small_words_count(self) -> None:
        query = parse('"state of the art"', ENGLISH)
        assert [group.word for group in query.groups] == ["state", "art"]
        assert query.admits("this state-of-the-art engine")
        assert not query.admits("the state of modern art")

    def test_a_phrase_of_small_words_is_looked_for(self) -> None:
        query = parse('"to be or not to be"', ENGLISH)
        assert {group.word for group in query.groups} == {"to", "be", "or", "not"}
        assert query.admits("That is: to be, or not to be!")
        assert not query.admits("not to be or to be")

    def test_curly_quotes_are_quotes(self) -> None:
        assert parse("“boundary layer”", ENGLISH) == parse('"boundary layer"', ENGLISH)

    def test_a_quote_that_is_not_closed_is_none(self) -> None:
        query = parse('a 5" pipe', ENGLISH)
        assert query.phrases == ()
        assert [group.word for group in query.groups] == ["5", "pipe"]

    def test_one_quoted_word_is_meant_as_it_is_written(self) -> None:
        query = parse('"layer"', ENGLISH)
        assert query.admits("one layer")
        assert not query.admits("two layers")

    def test_letters_without_spaces_make_phrases(self) -> None:
        query = parse('"東京都"', frozenset({UNKNOWN}))
        assert query.admits("私は東京都に住む")
        assert not query.admits("東京と京都")

    def test_runs_of_letters_without_spaces_stand_side_by_side(self) -> None:
        query = parse('"名前 | 年齢 35"', frozenset({UNKNOWN}))
        assert query.admits("住所 | 名前 | 年齢 | 35")
        assert not query.admits("年齢 | 名前 | 35")
        assert parse('"名前 年齢"', frozenset({UNKNOWN})).admits("名前、年齢層")


class TestSentences:
    @pytest.mark.parametrize("query", ["the red fox", "“The red-fox”", "THE RED\u3000FOX?"])
    def test_are_found_as_they_were_typed(self, query: str) -> None:
        typed = sentence(query)
        assert typed is not None
        assert typed.search("There: the red\nfox.")
        assert not typed.search("Loathe red foxes, the red foxes")

    def test_have_three_words(self) -> None:
        assert sentence("red fox") is None


class TestExclusions:
    def test_an_excluded_word_is_not_looked_for(self) -> None:
        query = parse("jaguar -cars", ENGLISH)
        assert [group.word for group in query.groups] == ["jaguar"]
        assert [group.terms for group in query.excluded] == [("car",)]

    def test_a_phrase_can_be_excluded(self) -> None:
        query = parse('jaguar -"the car"', ENGLISH)
        assert query.admits("jaguar, the cat")
        assert not query.admits("jaguar, the car")

    @pytest.mark.parametrize("text", ["grep -v", "below -5 degrees", "read-only", "a - b", "x --verbose"])
    def test_not_each_hyphen_excludes(self, text: str) -> None:
        query = parse(text, ENGLISH)
        assert (query.excluded, query.unwanted) == ((), ())

    def test_what_only_excludes_is_looked_for(self) -> None:
        query = parse("-verbose", ENGLISH)
        assert [group.word for group in query.groups] == ["verbose"]
        assert query.excluded == ()


class TestGroups:
    def test_only_the_word_that_is_still_typed_may_be_the_beginning_of_another(self) -> None:
        assert [group.beginning for group in parse("boundary lay", ENGLISH).groups] == [False, True]
        assert [group.beginning for group in parse("boundary lay ", ENGLISH).groups] == [False, False]
        assert [group.beginning for group in parse('"boundary lay"', ENGLISH).groups] == [False, False]

    def test_a_single_letter_begins_pairs(self) -> None:
        assert parse("猫 ", frozenset({UNKNOWN})).groups[0].beginning

    @pytest.mark.parametrize(
        ("text", "exact"),
        [("AB-1234", [False, True, True]), ("joe@acme", [False, False, True]), ('pay "invoice"', [False, True])],
    )
    def test_identifiers_and_quotes_are_meant_to_the_letter(self, text: str, exact: list[bool]) -> None:
        assert [group.exact for group in parse(text, ENGLISH).groups] == exact

    def test_a_group_is_found_by_other_words_too(self) -> None:
        group = Group("proj", terms_of("proj", ENGLISH)).also(["project", "projects", "projection"], ENGLISH)
        assert group.terms == ("proj", "project")
