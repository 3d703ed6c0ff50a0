"""Text to words, and words to the terms of the index. The same for documents and for queries."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from threading import local
from typing import NamedTuple

from Stemmer import Stemmer

from services.search.model.languages import STEMMERS

# Longer ones are encoded bytes and the like, which nobody types; they are cut.
MAX_WORD = 64
_MAX_PARTS = 8


class Word(NamedTuple):
    """A word where it stands: `text` as it is compared, `start` and `end` as code points of the text it was read from.

    `position` counts words. A compound ("e-mail", "AB-1234", "joe@example.com") is several words, and once more all of
    them as one ("email"), at the position of its first part.
    """

    text: str
    start: int
    end: int
    position: int
    compound: bool = False


def _combining_marks() -> str:
    """As ranges of a regular expression's class. Without them Hindi and Thai words fall apart."""
    marks = [code for code in range(0x20000) if unicodedata.category(chr(code)).startswith("M")]
    starts = [marks[0], *(after for before, after in pairwise(marks) if after != before + 1)]
    ends = [*(before for before, after in pairwise(marks) if after != before + 1), marks[-1]]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


MARKS = _combining_marks()
# Seen by nobody, and inside words: soft hyphen, zero-width space, non-joiner and joiner, word joiner and the like, BOM.
UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff"
_PART = f"[^\\W_](?:[^\\W_]++|[{MARKS}{UNSEEN}]++)*+"
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)+)(?![.,]?[^\W_])"
# C++, C#
_SIGNED = r"[^\W\d_](?:\+\+|\#)(?![^\W_])"
_JOINER = "[-_.@\u2010]"
# What is left of "she's" and "don't" is a word; of "l'avion" and "O'Brien" both halves are.
_CONTRACTION = r"(?:['\u2019](?:[sStTdDmM]|re|RE|ll|LL|ve|VE)(?![^\W_]))?"
_TOKEN = re.compile(
    f"(?P<number>{_NUMBER})|(?P<signed>{_SIGNED})|(?P<whole>{_PART}(?:{_JOINER}{_PART})*+){_CONTRACTION}"
)
_PARTS = re.compile(_PART)
# What normalises together: a letter and its marks, halfwidth kana and its voicing, the letters of a Hangul syllable.
_CLUSTER = re.compile(f".[{MARKS}\uff9e\uff9f\u1160-\u11ff]*", re.DOTALL)
_UNWANTED = str.maketrans("", "", f"{UNSEEN}\u0307-_.@\u2010")

# Before it come the scripts whose words have spaces between them, and others.
FIRST_UNSPACED = "\u0e00"
# Thai, Lao, Myanmar, Hangul, Khmer, kana, Han: written without spaces, or with particles that cling to words.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_SCRIPT = re.compile(f"(?P<unspaced>[{_UNSPACED}]+)|[^{_UNSPACED}]+")
# Letters that are written as others where a keyboard lacks them, and which Unicode does not take apart.
_SPELLED_OUT = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})
# Diacritics that are written or left out at will stand on Latin and Greek letters, which end here.
_FOLDED_BELOW = "\u0400"
# Elsewhere the stemmer has to see them; here it knows none of them.
_WRITTEN_PLAINLY = frozenset({"en"})

_make = Word._make
_stemmers = local()


def words(text: str) -> list[Word]:
    """The words of a text, in order of position; a compound comes after its parts."""
    if unicodedata.is_normalized("NFKC", text):
        return _words(text)
    normal, spans = _normalise(text)
    return [word._replace(start=spans[word.start][0], end=spans[word.end - 1][1]) for word in _words(normal)]


def terms(text: str, language: str) -> Counter[str]:
    """What a chunk in this language (ISO 639, or UNKNOWN) is found by, and how often each is in it."""
    return terms_of(words(text), language)


def terms_of(found_words: Iterable[Word], language: str) -> Counter[str]:
    """The same, of a text's words."""
    surface = Counter(word.text for word in found_words)
    found: Counter[str] = Counter()
    for term, count in zip(stems(surface, language), surface.values(), strict=True):
        found[term] += count
    return found


def stems(surface: Iterable[str], language: str) -> list[str]:
    """The term of each word in this language: its stem without diacritics; the word itself where it has no stemmer."""
    stemmer = _stemmer(language)
    before = [_fold(word) if language in _WRITTEN_PLAINLY else word for word in surface]
    return [_fold(stem) for stem in (before if stemmer is None else stemmer.stemWords(before))]


def _words(normal: str) -> list[Word]:
    found: list[Word] = []
    position = 0
    for match in _TOKEN.finditer(normal):
        kind = match.lastgroup or ""
        start, end = match.span(kind)
        token = match[kind]
        if kind == "whole" and not (token.isascii() and token.isalnum()):
            first, parts = position, 0
            for part in _PARTS.finditer(normal, start, end):
                parts += 1
                found.extend(_by_script(part[0], part.start(), position))
                position = found[-1].position + 1
            if 1 < parts <= _MAX_PARTS:
                found.append(Word(_text(token), start, end, first, compound=True))
            continue
        text = token.replace(",", "") if kind == "number" else token.lower()
        found.append(_make((text[:MAX_WORD], start, end, position, False)))
        position += 1
    return found


def _by_script(part: str, start: int, position: int) -> Iterator[Word]:
    if part.isascii():
        yield Word(part.lower()[:MAX_WORD], start, start + len(part), position)
        return
    for run in _SCRIPT.finditer(part):
        begin, end = start + run.start(), start + run.end()
        if run["unspaced"] is None:
            # A mark that is left over from the script before is no word.
            if run[0][0].isalnum():
                yield Word(_text(run[0]), begin, end, position)
                position += 1
            continue
        # Pairs of letters; and the last one alone, so that each letter begins some term.
        for offset in range(begin, end):
            pair = run[0][offset - begin : offset - begin + 2]
            yield Word(pair, offset, offset + len(pair), position)
            position += 1


def _text(token: str) -> str:
    return token.lower().translate(_UNWANTED)[:MAX_WORD]


def _normalise(text: str) -> tuple[str, list[tuple[int, int]]]:
    """NFKC, and for each of its code points where it comes from."""
    pieces: list[str] = []
    spans: list[tuple[int, int]] = []
    for cluster in _CLUSTER.finditer(text):
        piece = unicodedata.normalize("NFKC", cluster[0])
        pieces.append(piece)
        spans.extend([cluster.span()] * len(piece))
    return "".join(pieces), spans


def _fold(term: str) -> str:
    if term.isascii():
        return term
    decomposed = unicodedata.normalize("NFD", term.translate(_SPELLED_OUT))
    kept: list[str] = []
    base = ""
    for letter in decomposed:
        if not unicodedata.combining(letter):
            base = letter
        elif base < _FOLDED_BELOW:
            continue
        kept.append(letter)
    return unicodedata.normalize("NFC", "".join(kept))


def _stemmer(language: str) -> Stemmer | None:
    """This thread's own: a stemmer works on its own buffer.

    It remembers no words: that would gain a twentieth, and take megabytes for each thread and language.
    """
    algorithm = STEMMERS.get(language)
    if algorithm is None:
        return None
    if algorithm not in vars(_stemmers):
        vars(_stemmers)[algorithm] = Stemmer(algorithm, 0)
    mine: Stemmer = vars(_stemmers)[algorithm]
    return mine
