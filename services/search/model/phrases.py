"""Whether words stand side by side in a text, as somebody quoted them."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from services.search.model.analysis import MAX_WORD, UNSEEN, words

Phrase = tuple[str, ...]

# What analysis leaves out of words.
_UNREAD = re.compile(f"[{UNSEEN}\u0307]+")
# Between two words: anything but words, or what is left of "she's".
_BETWEEN = r"[\W_]+(?:(?:[stdm]|re|ll|ve)[\W_]*)?"
_FIRST_UNSPACED = "\u0e00"


def admits(text: str, wanted: Sequence[Phrase], unwanted: Sequence[Phrase]) -> bool:
    """Whether all wanted phrases stand in a text, and none of the unwanted ones.

    A phrase is the texts of words as `analysis.words` reads them, without compounds.
    """
    # To read a text takes a hundred times as long as to see that it cannot have a phrase.
    plain = _UNREAD.sub("", unicodedata.normalize("NFKC", text).lower())
    if not all(_likely(plain, phrase) for phrase in wanted):
        return False
    likely = [phrase for phrase in unwanted if _likely(plain, phrase)]
    if not wanted and not likely:
        return True
    read = [word.text for word in words(text) if not word.compound]
    return all(_stands_in(read, phrase) for phrase in wanted) and not any(_stands_in(read, one) for one in likely)


def _likely(plain: str, phrase: Phrase) -> bool:
    return all(pattern.search(plain) for pattern in _patterns(phrase))


@lru_cache(maxsize=256)
def _patterns(phrase: Phrase) -> tuple[re.Pattern[str], ...]:
    """What the plain text of whatever has the phrase matches: each run of plain words, as they follow each other."""
    runs: list[list[str]] = [[]]
    for word in phrase:
        if _is_plain(word):
            runs[-1].append(re.escape(word))
        else:
            runs.append([])
    return tuple(re.compile(_BETWEEN.join(run)) for run in runs if run)


def _is_plain(word: str) -> bool:
    """Whether a word stands in a text as it is read: numbers lose their commas, long words their ends."""
    return len(word) < MAX_WORD and word.isalpha() and max(word) < _FIRST_UNSPACED


def _stands_in(read: Sequence[str], phrase: Phrase) -> bool:
    length = len(phrase)
    return any(
        read[start] == phrase[0] and tuple(read[start : start + length]) == phrase
        for start in range(len(read) - length + 1)
    )
