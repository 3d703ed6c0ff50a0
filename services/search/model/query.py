"""What somebody asks: words, "phrases" and -exclusions, each word as the terms that it stands for in the index."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from services.search.model.analysis import Word, stems, words
from services.search.model.languages import UNKNOWN
from services.search.model.stopwords import stopwords_of

# A longer query is cut: nobody means more, and each word reads its postings.
MAX_WORDS = 64
# A compound's parts are looked for as well; weighed fully it would count twice. Chosen on Cranfield.
_COMPOUND_WEIGHT = 0.5
_QUOTES = str.maketrans("“”„‟«»", '"' * 6)
_QUOTED = re.compile(r'(?P<minus>(?<!\S)-)?"(?P<phrase>[^"]+)"')
# Of at least two letters: "grep -v" and "-5 degrees" exclude nothing.
_REFUSED = re.compile(r'(?<![^\s"])-(?=[^\W\d_]{2})[^\s"]+')
_DIGIT_OR_SIGN = re.compile(r"[\d@_]")
_FIRST_UNSPACED = "\u0e00"


@dataclass(frozen=True, slots=True)
class Group:
    """One word of a query, and its terms in each language of the workspace, which are scored as if they were one.

    `beginning`: it may be that of a longer word. `compound`: its parts have groups too. `exact`: it is meant to the
    letter, for it is quoted, or has digits in it, or "@" or "_".
    """

    word: str
    terms: tuple[str, ...]
    weight: float = 1.0
    beginning: bool = False
    compound: bool = False
    exact: bool = False

    def also(self, others: Iterable[str], languages: Collection[str]) -> "Group":
        """The same, found by these words too: its completions, or how it is spelt."""
        found = [term for other in others for term in terms_of(other, languages)]
        return replace(self, terms=tuple(dict.fromkeys([*self.terms, *found])))


@dataclass(frozen=True, slots=True)
class Query:
    """A query, read. Without groups it asks for nothing.

    `groups` are scored. A chunk has to hold all of `required` and none of `excluded`, and `admits` has to be true of
    its text: `phrases` stand in it word for word, and `unwanted` do not.
    """

    groups: tuple[Group, ...]
    required: tuple[Group, ...] = ()
    excluded: tuple[Group, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    unwanted: tuple[tuple[str, ...], ...] = ()

    def admits(self, text: str) -> bool:
        """Whether a chunk's text holds the phrases, and not the unwanted ones."""
        if not self.phrases and not self.unwanted:
            return True
        found = [word.text for word in words(text) if not word.compound]
        return all(_stands_in(found, phrase) for phrase in self.phrases) and not any(
            _stands_in(found, phrase) for phrase in self.unwanted
        )


def parse(text: str, languages: Collection[str]) -> Query:
    """Read a query against a workspace with chunks in these languages (ISO 639, or UNKNOWN).

    Words that say nothing are left out unless there are no others. A query that only excludes is looked for instead.
    """
    text = text.translate(_QUOTES)
    read = _without_overlap(words(text))[:MAX_WORDS]
    quoted = [match for match in _QUOTED.finditer(text) if not match["minus"]]
    refused = [match for match in _QUOTED.finditer(text) if match["minus"]]
    refused += [match for match in _REFUSED.finditer(text) if not _inside(match.span(), [*quoted, *refused])]
    asked = [word for word in read if not _inside((word.start, word.end), refused)]
    if not asked:
        asked, refused = read, []
    phrases = [_parts(read, match) for match in quoted]
    unwanted = [_parts(read, match) for match in refused]
    return Query(
        _groups(_telling(asked, text, languages), text, quoted, languages),
        required=_plain(dict.fromkeys(word for phrase in phrases for word in phrase), languages),
        excluded=_plain([phrase[0] for phrase in unwanted if len(phrase) == 1], languages),
        phrases=tuple(phrase for phrase in phrases if phrase),
        unwanted=tuple(phrase for phrase in unwanted if len(phrase) > 1),
    )


def terms_of(word: str, languages: Collection[str]) -> tuple[str, ...]:
    """The terms that a word stands for in chunks of these languages, in a fixed order; itself where there are none."""
    return tuple(dict.fromkeys(term for language in sorted(languages) or [UNKNOWN] for term in stems([word], language)))


def _groups(
    asked: Sequence[Word], text: str, quoted: Sequence[re.Match[str]], languages: Collection[str]
) -> tuple[Group, ...]:
    """One for each word; what is asked twice counts twice."""
    found: dict[str, Group] = {}
    for word in asked:
        in_quotes = _inside((word.start, word.end), quoted)
        before = found.get(word.text)
        found[word.text] = Group(
            word.text,
            terms_of(word.text, languages),
            (before.weight if before else 0.0) + (_COMPOUND_WEIGHT if word.compound else 1.0),
            beginning=not in_quotes and (word.end == len(text) or single_unspaced(word.text)),
            compound=word.compound,
            exact=in_quotes or _DIGIT_OR_SIGN.search(text, word.start, word.end) is not None,
        )
    return tuple(found.values())


def _plain(texts: Iterable[str], languages: Collection[str]) -> tuple[Group, ...]:
    return tuple(Group(text, terms_of(text, languages)) for text in texts)


def _telling(asked: Sequence[Word], text: str, languages: Collection[str]) -> Sequence[Word]:
    """Without stop words, unless they are all there is, or stand out as "IT" and "US" do."""
    stopwords = stopwords_of({word.text for word in asked}, languages)
    shouted = text.isupper()
    return [
        word
        for word in asked
        if word.text not in stopwords
        or (not shouted and word.end - word.start > 1 and text[word.start : word.end].isupper())
    ] or asked


def _without_overlap(read: Sequence[Word]) -> list[Word]:
    """Without the single letter that ends a run of pairs: in a query it asks for nothing new."""
    return [
        word
        for before, word in zip([None, *read], read, strict=False)
        if before is None or len(word.text) > 1 or word.start >= before.end
    ]


def single_unspaced(text: str) -> bool:
    """A letter that the index mostly has in pairs, which begin with it."""
    return len(text) == 1 and text >= _FIRST_UNSPACED


def _parts(read: Sequence[Word], match: re.Match[str]) -> tuple[str, ...]:
    return tuple(word.text for word in read if not word.compound and _inside((word.start, word.end), [match]))


def _inside(span: tuple[int, int], matches: Sequence[re.Match[str]]) -> bool:
    return any(match.start() <= span[0] and span[1] <= match.end() for match in matches)


def _stands_in(found: Sequence[str], phrase: Sequence[str]) -> bool:
    length = len(phrase)
    return any(
        found[start] == phrase[0] and tuple(found[start : start + length]) == tuple(phrase)
        for start in range(len(found) - length + 1)
    )
