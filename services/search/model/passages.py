"""Passages of documents: staged, published, and what a new version changes of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.search.model import analysis
from services.search.model.languages import primary

# Documents parts blocks so, and states so much of a heading.
_BETWEEN_BLOCKS = "\n\n"
_HEADING_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage stands: among the others, on which page, and from where to where in the plain text."""

    ordinal: int
    page: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage as it comes. Its id says its document, text and headings; one in another language is another one."""

    chunk_id: UUID
    place: Place
    headings: tuple[str, ...]
    text: str
    language: str


@dataclass(frozen=True, slots=True)
class Staged:
    """A staged passage, without its text."""

    chunk_id: UUID
    language: str
    place: Place

    @property
    def key(self) -> tuple[UUID, str]:
        """What makes it the same as a published one."""
        return self.chunk_id, self.language


@dataclass(frozen=True, slots=True)
class Published:
    """A published passage, without its text. `length` is in terms."""

    chunk_no: int
    chunk_id: UUID
    language: str
    length: int
    place: Place

    @property
    def key(self) -> tuple[UUID, str]:
        """What makes it the same as a staged one."""
        return self.chunk_id, self.language


@dataclass(frozen=True, slots=True)
class Readable:
    """What a passage is found by: its text under its headings, the nearest of which may stand in it, too."""

    headings: tuple[str, ...]
    text: str
    language: str

    @classmethod
    def of(cls, *, headings: Sequence[str], text: str, language: str) -> "Readable":
        """Made of what is stored, where headings are a list."""
        return cls(tuple(headings), text, language)

    @property
    def whole(self) -> str:
        """The text as it is analysed: each heading once, so that it weighs no more where it is in the passage."""
        blocks = {block[:_HEADING_CHARACTERS] for block in self.text.split(_BETWEEN_BLOCKS)}
        return "\n".join((*(heading for heading in self.headings if heading not in blocks), self.text))

    def terms(self) -> Counter[str]:
        """Its terms, and how often it has each."""
        return analysis.terms(self.whole, primary(self.language))

    def vocabulary(self) -> frozenset[str]:
        """Its words as they are written, as far as somebody could begin to type them: of letters, and two at least."""
        return _typed(analysis.words(self.whole))

    def both(self) -> tuple[Counter[str], frozenset[str]]:
        """Its terms and its words, read once."""
        words = analysis.words(self.whole)
        return analysis.terms_of(words, primary(self.language)), _typed(words)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a version changes: passages that are new, that are gone, that stay, and of these those that moved."""

    added: Sequence[Staged]
    removed: Sequence[Published]
    moved: Sequence[tuple[int, Place]]
    kept: int

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many passages a publish added, removed and kept."""

    added: int
    removed: int
    kept: int


def compare(staged: Sequence[Staged], published: Sequence[Published]) -> Changes:
    """What to do, so that what is published is what is staged."""
    before = {passage.key: passage for passage in published}
    after = {passage.key for passage in staged}
    return Changes(
        added=[passage for passage in staged if passage.key not in before],
        removed=[passage for passage in published if passage.key not in after],
        moved=[
            (before[passage.key].chunk_no, passage.place)
            for passage in staged
            if passage.key in before and before[passage.key].place != passage.place
        ],
        kept=len(before.keys() & after),
    )


def count_words(passages: Iterable[Iterable[str]]) -> Counter[str]:
    """In how many of the passages, given by their words, each word is."""
    found: Counter[str] = Counter()
    for words in passages:
        found.update(words)
    return found


def _typed(words: Iterable[analysis.Word]) -> frozenset[str]:
    return frozenset(word.text for word in words if len(word.text) > 1 and any(map(str.isalpha, word.text)))
