"""The index of a workspace: how it is searched, and what it counts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.search.model.names import INDEX


class EmbedderKind(StrEnum):
    """How passages get their vectors."""

    LSA = "lsa"
    OPENAI = "openai"
    LOCAL = "local"
    NONE = "none"

    @property
    def wire_name(self) -> str:
        """As the contract calls it."""
        return f"EMBEDDER_KIND_{self.name}"


@dataclass(frozen=True, slots=True)
class VectorSet:
    """The vectors of one version of an embedder; `approximate`: nearest ones are found by a graph."""

    embedder: EmbedderKind
    model: str
    dimensions: int
    vector_count: int
    approximate: bool
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Index:
    """One row a workspace, which whoever publishes holds.

    `revision` grows with all that readers could see, `version` with its settings. Numbers are given out once: a
    document has its `doc_no` for as long as it is here, a passage its `chunk_no`. `rebuilding`: somebody wants it new;
    passages from `rebuilt_no` below `rebuild_end` are still to be read anew. `generation` counts how often that was
    wanted: what the vocabulary counted in an earlier one counts no more. `languages` says how many passages are in
    each; empty: it is not clear in which.
    """

    workspace_id: UUID
    embedder: EmbedderKind
    log_queries: bool
    revision: int
    next_doc_no: int
    next_chunk_no: int
    next_segment_id: int
    next_audience_id: int
    document_count: int
    chunk_count: int
    term_count: int
    languages: Mapping[str, int]
    rebuilding: bool
    rebuilt_no: int
    rebuild_end: int
    generation: int
    version: int
    create_time: datetime
    update_time: datetime
    purge_time: datetime | None

    @classmethod
    def empty(cls, workspace_id: UUID, now: datetime) -> "Index":
        """That of a workspace where nothing was published or set up yet. Audience 0 is everyone."""
        return cls(
            workspace_id=workspace_id,
            embedder=EmbedderKind.LSA,
            log_queries=True,
            revision=0,
            next_doc_no=0,
            next_chunk_no=0,
            next_segment_id=1,
            next_audience_id=1,
            document_count=0,
            chunk_count=0,
            term_count=0,
            languages={},
            rebuilding=False,
            rebuilt_no=0,
            rebuild_end=0,
            generation=0,
            version=1,
            create_time=now,
            update_time=now,
            purge_time=None,
        )

    @property
    def name(self) -> str:
        """The resource name."""
        return INDEX.format(workspace=self.workspace_id)

    @property
    def spoken(self) -> tuple[str, ...]:
        """The languages of its passages, the most frequent first."""
        known = sorted((-count, language) for language, count in self.languages.items() if language)
        return tuple(language for _, language in known)

    def counting(self, documents: int, chunks: int, terms: int, languages: Mapping[str, int] | None = None) -> "Index":
        """With so many more of each; `languages`: so many passages in each."""
        known = Counter(self.languages)
        known.update(languages or {})
        return replace(
            self,
            document_count=self.document_count + documents,
            chunk_count=self.chunk_count + chunks,
            term_count=self.term_count + terms,
            languages={language: count for language, count in known.items() if count > 0},
        )

    def vocabulary_has(self, chunk_no: int) -> bool:
        """Whether a passage whose words were counted is not one that a rebuild has still to count anew."""
        return not self.rebuilt_no <= chunk_no < self.rebuild_end


@dataclass(frozen=True, slots=True)
class IndexPatch:
    """What to change of the settings; None: nothing."""

    embedder: EmbedderKind | None = None
    log_queries: bool | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """What somebody sees of an index: documents, their passages and languages, and when one of these changed last.

    The languages are those of documents, not of passages: the most frequent first.
    """

    documents: int
    passages: int
    languages: tuple[str, ...]
    update_time: datetime | None


@dataclass(frozen=True, slots=True)
class IndexView:
    """The index as people see it, and the vectors that serve and are made.

    `languages` are those of its passages, or, of somebody who does not see all, of the documents that they see.
    """

    index: Index
    languages: tuple[str, ...]
    live: VectorSet | None
    building: VectorSet | None

    def as_seen(self, counts: Counts) -> "IndexView":
        """As somebody sees it who does not see all; their passages are taken for as long as others, and as complete."""
        share = counts.passages / max(self.index.chunk_count, 1)
        index = replace(
            self.index,
            document_count=counts.documents,
            chunk_count=counts.passages,
            term_count=round(self.index.term_count * share),
            update_time=counts.update_time or self.index.create_time,
        )
        return IndexView(index, counts.languages, _part_of(self.live, share), _part_of(self.building, share))


def _part_of(vectors: VectorSet | None, share: float) -> VectorSet | None:
    return vectors and replace(vectors, vector_count=round(vectors.vector_count * share))
