"""Whether words stand side by side in a text, as somebody quoted them."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from services.search.model.analysis import FIRST_UNSPACED, MARKS, MAX_WORD, UNSEEN, words

Phrase = tuple[str, ...]

# What analysis leaves out of words.
_UNREAD = re.compile(f"[{UNSEEN}\u0307]+")
# Between two words: anything but words, or what is left of "she's".
_BETWEEN = r"[\W_]+(?:(?:[stdm]|re|ll|ve)[\W_]*)?"
# A letter or a sign beside a word may belong to it, to a contraction, or to C++.
_DOUBTFUL = f"\\w{MARKS}+#'\u2019"
# Which of the two ends a word depends on what is beside it.
_SIGMAS = frozenset("σς")


def admits(text: str, wanted: Sequence[Phrase], unwanted: Sequence[Phrase]) -> bool:
    """Whether all wanted phrases stand in a text, and none of the unwanted ones.

    A phrase is the texts of words as `analysis.words` reads them, without compounds.
    """
    looked_at = _Text(text)
    return all(looked_at.has(phrase) for phrase in wanted) and not any(looked_at.has(phrase) for phrase in unwanted)


class _Text:
    """A text in which phrases are looked for. To read it takes a hundred times as long as to look at it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._plain = _UNREAD.sub("", unicodedata.normalize("NFKC", text).lower())

    def has(self, phrase: Phrase) -> bool:
        """Whether a phrase stands in it."""
        look = _look_for(phrase)
        if not all(pattern.search(self._plain) for pattern in look.necessary):
            return False
        return bool(look.sufficient and look.sufficient.search(self._plain)) or _stands_in(self._read, phrase)

    @cached_property
    def _read(self) -> list[str]:
        return [word.text for word in words(self._text) if not word.compound]


@dataclass(frozen=True, slots=True)
class _Look:
    """Patterns of plain texts: `necessary`, which all with a phrase match, and `sufficient`, which no others do.

    None where there is no such one: such a text has to be read.
    """

    necessary: tuple[re.Pattern[str], ...]
    sufficient: re.Pattern[str] | None


@lru_cache(maxsize=256)
def _look_for(phrase: Phrase) -> _Look:
    """What to look for: each run of the phrase's plain words, as they follow each other."""
    runs: list[list[str]] = [[]]
    for word in phrase:
        if _is_plain(word):
            runs[-1].append(re.escape(word))
        else:
            runs.append([])
    necessary = tuple(re.compile(_BETWEEN.join(run)) for run in runs if run)
    if len(runs) > 1:
        return _Look(necessary, None)
    first, *others = runs[0]
    # A pattern that begins with letters is found faster: what may not stand before them is looked at behind them.
    alone = f"{first}(?<![{_DOUBTFUL}]{first})"
    apart = f"[^{_DOUBTFUL}]+".join((alone, *others))
    return _Look(necessary, re.compile(f"{apart}(?![{_DOUBTFUL}])"))


def _is_plain(word: str) -> bool:
    """Whether a word stands in a text as it is read: numbers lose their commas, long words their ends."""
    return len(word) < MAX_WORD and word.isalpha() and max(word) < FIRST_UNSPACED and _SIGMAS.isdisjoint(word)


def _stands_in(read: Sequence[str], phrase: Phrase) -> bool:
    length = len(phrase)
    return any(
        read[start] == phrase[0] and tuple(read[start : start + length]) == phrase
        for start in range(len(read) - length + 1)
    )
