import pytest
from Stemmer import algorithms

from services.search.model.analysis import words
from services.search.model.languages import STEMMERS, UNKNOWN
from services.search.model.stopwords import STOPWORDS, stopwords_of


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("what is the price", "what is the"),
        ("das war der vertrag", "das war der"),
        ("war crimes in the north", "in"),
        ("häuser in berlin", "in"),
        ("invoice", ""),
        ("", ""),
    ],
)
def test_a_query_is_in_the_language_that_has_most_of_its_small_words(asked: str, expected: str) -> None:
    assert stopwords_of(asked.split(), ["de", "en", UNKNOWN]) == set(expected.split())


@pytest.mark.parametrize("languages", [[], [UNKNOWN], ["xx"]])
def test_without_a_list_each_word_says_something(languages: list[str]) -> None:
    assert stopwords_of(["the"], languages) == frozenset()


def test_lists_are_of_languages_that_are_stemmed() -> None:
    assert STOPWORDS.keys() <= STEMMERS.keys()
    assert set(STEMMERS.values()) <= set(algorithms())


@pytest.mark.parametrize("language", sorted(STOPWORDS))
def test_lists_hold_words_as_they_are_read(language: str) -> None:
    assert [stopword for stopword in STOPWORDS[language] if [word.text for word in words(stopword)] != [stopword]] == []
