"""What is asked of search, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

# So many can be paged through, and no more are ranked.
MAX_HITS = 1000


class Mode(StrEnum):
    """How a query is matched."""

    HYBRID = "hybrid"
    LEXICAL = "lexical"
    SEMANTIC = "semantic"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; with `prefix` the last word is still being typed."""

    workspace_id: UUID
    query: str
    mode: Mode
    filter: str
    prefix: bool


@dataclass(frozen=True, slots=True)
class Request:
    """What is looked for, and how it is to be answered."""

    wanted: Wanted
    page_size: int
    page_token: str
    collapse: bool
    unlogged: bool


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """What a score is made of; a rank is from 1, and 0 where the passage is not in that ranking."""

    lexical_score: float
    lexical_rank: int
    semantic_score: float
    semantic_rank: int
    lexical_weight: float
    semantic_weight: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that answers a query. `highlights` are (start, end) in the snippet, in code points."""

    chunk_id: UUID
    document_id: UUID
    display_name: str
    media_type: str
    version: int
    snippet: str
    highlights: Sequence[tuple[int, int]]
    headings: Sequence[str]
    page: int
    start: int
    end: int
    score: float
    parts: ScoreParts
    more_in_document: int


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of hits, the best first, and how they were found."""

    hits: Sequence[Hit]
    next_page_token: str
    mode: Mode
    corrected_query: str
    lexical_matches: int


@dataclass(frozen=True, slots=True)
class TermContribution:
    """What one word of a query did for a passage; `df` counts what the caller may see."""

    word: str
    terms: Sequence[str]
    tf: int
    df: int
    idf: float
    score: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a passage has its place. `length` is in terms, and so is the average of the workspace's passages."""

    hit: Hit
    terms: Sequence[TermContribution]
    passage_count: int
    length: int
    average_length: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One way to go on: a query, or the name of a document."""

    text: str
    document_id: UUID | None = None
