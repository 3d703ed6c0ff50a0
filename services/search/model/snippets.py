"""Where in a chunk the answer stands, and which of its words were asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.search.model.analysis import Word, stems, words
from services.search.model.query import Group

LENGTH = 240
# How much two words weigh that stand side by side as they were asked, against a word that was not there yet.
_ADJACENT = 0.5
# And a word that comes again.
_AGAIN = 0.05
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n\s*\n|(?<=[。！？])")
_SPACE = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a chunk's text, each white space made a plain one.

    `highlights` are (start, end) of words that were asked for, as code points of `text`; they ascend and do not touch.
    """

    text: str
    highlights: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Match:
    word: Word
    group: int


def snippet(text: str, language: str, groups: Sequence[Group], length: int = LENGTH) -> Snippet:
    """The piece of a chunk, at most `length` long, with the most of these words in it; its beginning where none is."""
    matches = _matches(text, language, groups)
    start, end = _framed(text, _best_window(matches, groups, length), length)
    spans: list[tuple[int, int]] = []
    for match in matches:
        if start <= match.word.start and match.word.end <= end:
            first, last = match.word.start - start, match.word.end - start
            if spans and first <= spans[-1][1]:
                first, last = spans[-1][0], max(last, spans.pop()[1])
            spans.append((first, last))
    return Snippet(_SPACE.sub(" ", text[start:end]), tuple(spans))


def _matches(text: str, language: str, groups: Sequence[Group]) -> list[_Match]:
    of_term = {term: number for number, group in reversed(list(enumerate(groups))) for term in group.terms}
    read = words(text)
    distinct = list({word.text for word in read})
    term_of = dict(zip(distinct, stems(distinct, language), strict=True))
    found = [_Match(word, of_term[term_of[word.text]]) for word in read if term_of[word.text] in of_term]
    return sorted(found, key=lambda match: (match.word.start, match.word.end))


def _best_window(matches: Sequence[_Match], groups: Sequence[Group], length: int) -> Sequence[_Match]:
    """Those neighbours that fit and say most; the first of equals."""
    best: Sequence[_Match] = ()
    best_score, end = 0.0, 0
    for begin, first in enumerate(matches):
        while end < len(matches) and matches[end].word.end <= first.word.start + length:
            end += 1
        score = _score(matches[begin:end], groups)
        if score > best_score:
            best, best_score = matches[begin:end], score
    return best


def _score(window: Sequence[_Match], groups: Sequence[Group]) -> float:
    score, seen = 0.0, set[int]()
    for number, match in enumerate(window):
        weight = groups[match.group].weight
        score += weight * (_AGAIN if match.group in seen else 1.0)
        seen.add(match.group)
        before = window[number - 1] if number else None
        if before and match.group == before.group + 1 and match.word.position == before.word.position + 1:
            score += weight * _ADJACENT
    return score


def _framed(text: str, window: Sequence[_Match], length: int) -> tuple[int, int]:
    """From the beginning of its sentence, if that fits; else with as much before it as after it. Cut between words."""
    if not window:
        return 0, _cut(text, 0, length)
    first, last = window[0].word.start, max(match.word.end for match in window)
    start = max((match.end() for match in _SENTENCE.finditer(text, 0, first)), default=0)
    if start + length < last:
        start = max(min(first - (length - (last - first)) // 2, len(text) - length), 0)
        space = _SPACE.search(text, start, first) if start else None
        start = space.end() if space else start
    return start, _cut(text, last, start + length)


def _cut(text: str, least: int, most: int) -> int:
    """The end of the last word that fits, from `least` to `most`."""
    if most >= len(text):
        return len(text)
    return next((at for at in range(most, least, -1) if text[at].isspace()), least or most)
