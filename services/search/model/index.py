"""The index of a workspace: how it is searched, and what it counts."""

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
    document has its `doc_no` for as long as it is here, a passage its `chunk_no`. `rebuilding`: somebody wants it new.
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
    rebuilding: bool
    version: int
    create_time: datetime
    update_time: datetime

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
            rebuilding=False,
            version=1,
            create_time=now,
            update_time=now,
        )

    @property
    def name(self) -> str:
        """The resource name."""
        return INDEX.format(workspace=self.workspace_id)

    def counting(self, documents: int, chunks: int, terms: int) -> "Index":
        """With so many more of each."""
        return replace(
            self,
            document_count=self.document_count + documents,
            chunk_count=self.chunk_count + chunks,
            term_count=self.term_count + terms,
        )


@dataclass(frozen=True, slots=True)
class IndexPatch:
    """What to change of the settings; None: nothing."""

    embedder: EmbedderKind | None = None
    log_queries: bool | None = None


@dataclass(frozen=True, slots=True)
class IndexView:
    """The index as people see it: with the languages of its documents, and the vectors that serve and are made."""

    index: Index
    languages: tuple[str, ...]
    live: VectorSet | None
    building: VectorSet | None
