"""What somebody asks: words, "phrases" and -exclusions, each word as the terms that it stands for in the index."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from services.search.model import phrases
from services.search.model.analysis import FIRST_UNSPACED, Word, stems, words
from services.search.model.languages import UNKNOWN
from services.search.model.stopwords import stopwords_of

# A longer query is cut: nobody means more, and each term reads its postings. With what a beginning stands for, too.
MAX_WORDS = 64
MAX_TERMS = 200
# A compound's parts are looked for as well; weighed fully it would count twice. Chosen on Cranfield
# (`make bench-search`).
_COMPOUND_WEIGHT = 0.5
_QUOTES = str.maketrans("“”„‟«»", '"' * 6)
_QUOTED = re.compile(r'(?P<minus>(?<!\S)-)?"(?P<phrase>[^"]+)"')
# Of at least two letters: "grep -v" and "-5 degrees" exclude nothing.
_REFUSED = re.compile(r'(?<![^\s"])-(?=[^\W\d_]{2})[^\s"]+')
_DIGIT_OR_SIGN = re.compile(r"[\d@_]")
# Two words stand side by side in many a text that is about something else.
_MIN_SENTENCE = 3


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

    def also(self, others: Iterable[str], languages: Collection[str], most: int = MAX_TERMS) -> "Group":
        """The same, found by its completions too, the first of them: by at most so many terms more."""
        found = dict.fromkeys(term for other in others for term in terms_of(other, languages))
        more = [term for term in found if term not in self.terms]
        return replace(self, terms=(*self.terms, *more[:most]))


@dataclass(frozen=True, slots=True)
class Query:
    """A query, read. Without groups it asks for nothing.

    `groups` are scored. A chunk has to hold all of `required` and none of `excluded`, and `admits` has to be true of
    its text: `phrases` stand in it word for word, and `unwanted` do not. `suspicious` are the words of each of these: a
    chunk that lacks one of them has no such phrase.
    """

    groups: tuple[Group, ...]
    required: tuple[Group, ...] = ()
    excluded: tuple[Group, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    unwanted: tuple[tuple[str, ...], ...] = ()
    suspicious: tuple[tuple[Group, ...], ...] = ()

    def admits(self, text: str) -> bool:
        """Whether a chunk's text holds the phrases, and not the unwanted ones."""
        return phrases.admits(text, self.phrases, self.unwanted)

    @property
    def terms(self) -> set[str]:
        """The terms of all its words."""
        groups = (*self.groups, *self.required, *self.excluded, *chain.from_iterable(self.suspicious))
        return {term for group in groups for term in group.terms}


def parse(text: str, languages: Collection[str]) -> Query:
    """Read a query against a workspace with chunks in these languages (ISO 639, or UNKNOWN).

    Words that say nothing are left out unless there are no others. A query that only excludes is looked for instead.
    """
    text = text.translate(_QUOTES)
    written = _bounded(words(text), languages)
    read = _without_overlap(written)
    quoted, refused = _marked(text)
    asked = [word for word in read if not _inside((word.start, word.end), refused)]
    if not asked:
        asked, refused = read, []
    wanted = [_parts(written, match) for match in quoted]
    refusing = [_parts(written, match) for match in refused]
    unwanted = tuple(phrase for phrase in refusing if len(phrase) > 1)
    return Query(
        _groups(_telling(asked, text, languages), text, quoted, languages),
        required=_plain(dict.fromkeys(word for phrase in wanted for word in phrase), languages),
        excluded=_plain([phrase[0] for phrase in refusing if len(phrase) == 1], languages),
        phrases=tuple(phrase for phrase in wanted if phrase),
        unwanted=unwanted,
        suspicious=tuple(_plain(dict.fromkeys(phrase), languages) for phrase in unwanted),
    )


def spoken(text: str) -> str:
    """A query as one would say it: without quotation marks and what is excluded; that alone if it only excludes."""
    text = text.translate(_QUOTES)
    kept, end = [], 0
    for match in sorted(_marked(text)[1], key=re.Match.start):
        kept.append(text[end : match.start()])
        end = match.end()
    kept.append(text[end:])
    said = " ".join("".join(kept).replace('"', " ").split())
    return said if words(said) else " ".join(word.text for word in words(text) if not word.compound)


def sentence(text: str) -> re.Pattern[str] | None:
    """What a query of three words and more is found by where it stands as it was typed; None for a shorter one.

    Case, and what stands between the words, do not matter.
    """
    typed = re.findall(r"\w+", unicodedata.normalize("NFKC", text))
    if len(typed) < _MIN_SENTENCE:
        return None
    return re.compile(r"(?<!\w)" + r"\W+".join(map(re.escape, typed)) + r"(?!\w)", re.IGNORECASE)


def terms_of(word: str, languages: Collection[str]) -> tuple[str, ...]:
    """The terms that a word stands for in chunks of these languages, in a fixed order; itself where there are none."""
    return tuple(dict.fromkeys(term for language in sorted(languages) or [UNKNOWN] for term in stems([word], language)))


def _marked(text: str) -> tuple[list[re.Match[str]], list[re.Match[str]]]:
    """What is quoted, and what is refused."""
    quoted = [match for match in _QUOTED.finditer(text) if not match["minus"]]
    refused = [match for match in _QUOTED.finditer(text) if match["minus"]]
    refused += [match for match in _REFUSED.finditer(text) if not _inside(match.span(), [*quoted, *refused])]
    return quoted, refused


def _bounded(written: Sequence[Word], languages: Collection[str]) -> Sequence[Word]:
    """The first of the words, as far as they and their terms are few enough."""
    terms: set[str] = set()
    for place, word in enumerate(written[:MAX_WORDS]):
        terms.update(terms_of(word.text, languages))
        if len(terms) > MAX_TERMS:
            return written[:place]
    return written[:MAX_WORDS]


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
    return len(text) == 1 and text >= FIRST_UNSPACED


def _parts(written: Sequence[Word], match: re.Match[str]) -> tuple[str, ...]:
    """The words of a phrase, as they follow each other in a chunk."""
    inside = [word for word in written if not word.compound and _inside((word.start, word.end), [match])]
    # In a chunk the last run of pairs may go on, and has the single letter later; the others end where they do here.
    if inside[-1:] != _without_overlap(inside)[-1:]:
        inside.pop()
    return tuple(word.text for word in inside)


def _inside(span: tuple[int, int], matches: Sequence[re.Match[str]]) -> bool:
    return any(match.start() <= span[0] and span[1] <= match.end() for match in matches)
