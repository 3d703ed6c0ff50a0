"""Whether a phrase stands in a text: the quick look first never misses one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.model import phrases
from services.search.model.analysis import words
from services.search.model.phrases import admits

LETTERS = ["red", "Fox", "ΟΔΟΣ", "naïve", "ﬁn", "東京都", "हिन्दी", "İstanbul", "a", "s", "C"]
PIECES = [*LETTERS, "she's", "don\u2019t", "e-mail", "1,000", "2.5", "AB-1234", "C++", "F#", "é".join("xy")]
BETWEEN = [" ", " ", " ", "-", ".", "'", "+", "#", "\u00ad", "\u0301", "\u0307", "_", ", ", "\n", "\u2026"]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3) | st.sampled_from(BETWEEN)).map("".join)


def parts(text: str) -> tuple[str, ...]:
    return tuple(word.text for word in words(text) if not word.compound)


@given(TEXTS, st.data())
def test_what_stands_in_a_text_is_found(text: str, data: st.DataObject) -> None:
    read = parts(text)
    if read:
        start = data.draw(st.integers(0, len(read) - 1))
        phrase = read[start : data.draw(st.integers(start + 1, len(read)))]
        assert admits(text, [phrase], [])
        assert not admits(text, [], [phrase])


@given(TEXTS, TEXTS)
def test_the_quick_look_changes_no_answer(text: str, phrase: str) -> None:
    read, asked = parts(text), parts(phrase)
    stands = any(read[at : at + len(asked)] == asked for at in range(len(read)))
    if asked:
        assert admits(text, [asked], []) is stands
        assert admits(text, [], [asked]) is not stands


def test_texts_that_cannot_have_it_or_plainly_do_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrases, "words", None)
    assert not admits("a fox so red", [("red", "fox")], [])
    assert admits("a fox so red", [], [("red", "fox")])
    assert admits("a Red, fox\u00ad!", [("red", "fox")], [])
    assert not admits("a (red) fox.", [], [("red", "fox")])
