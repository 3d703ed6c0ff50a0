"""What somebody may have meant who wrote a word that no chunk has."""

from collections.abc import Sequence

from rapidfuzz.distance import DamerauLevenshtein
from rapidfuzz.process import extract

# Shorter words have too many neighbours, and so have numbers; up to a length one slip is forgiven, in longer ones two.
_SHORTEST = 3
_ONE_SLIP = 7


def slips_in(word: str) -> int:
    """How many slips are forgiven in a word of this length."""
    return 1 if len(word) <= _ONE_SLIP else 2


def correctable(word: str) -> bool:
    """Whether it can be told what is meant instead: numbers are meant as they are, short words could be any."""
    return len(word) >= _SHORTEST and not any(letter.isdigit() for letter in word)


def lengths_near(word: str) -> range:
    """How many letters the words have that may be meant instead."""
    return range(len(word) - slips_in(word), len(word) + slips_in(word) + 1)


def nearest(word: str, vocabulary: Sequence[tuple[str, int]]) -> str | None:
    """The word of the vocabulary (each with how often it is there) that is most likely meant; None: none is.

    One is likelier the fewer slips away it is, if it begins alike, and the more often it is there.
    """
    if not correctable(word):
        return None
    slips = slips_in(word)
    near = [(other, count) for other, count in vocabulary if abs(len(other) - len(word)) <= slips and other != word]
    found = extract(
        word, [other for other, _ in near], scorer=DamerauLevenshtein.distance, score_cutoff=slips, limit=None
    )
    likeliest = min(
        found, key=lambda match: (match[1], match[0][0] != word[0], -near[match[2]][1], match[0]), default=None
    )
    return likeliest and likeliest[0]
