"""The port: what the index asks of the vectors of its passages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from services.search.model.index import EmbedderKind, Index, VectorSet
from services.search.service.units import SearchUnitOfWork


@dataclass(frozen=True, slots=True)
class Change:
    """What a publish changed: numbers of new passages by their ids, their terms, and numbers that are gone."""

    document_id: UUID
    doc_no: int
    added: Mapping[UUID, int]
    terms: Sequence[Mapping[str, int]]
    removed: Sequence[int]


class Vectors(Protocol):
    """The vectors of passages."""

    def require(self, kind: EmbedderKind) -> None:
        """Let pass only what this instance can embed with. Raises EmbedderNotConfigured."""
        ...

    def sets(self, uow: SearchUnitOfWork, workspace_id: UUID) -> tuple[VectorSet | None, VectorSet | None]:
        """What serves, and what is being made beside it."""
        ...

    def embed(self, workspace_id: UUID, document_id: UUID, version: int) -> int:
        """Give staged passages of a version their vectors, some of those that lack one: how many lack it still.

        Raises EmbedderUnavailable or EmbedderRefused.
        """
        ...

    def on_published(self, uow: SearchUnitOfWork, index: Index, change: Change) -> None:
        """Bring the vectors to where the passages are, in the unit that publishes and holds the index.

        The staged passages of the document are gone already. Deleting a document is a change that removes all.
        """
        ...

    def rebuild(self, uow: SearchUnitOfWork, index: Index) -> None:
        """Have all vectors made anew as the settings say it, in a unit that holds the index."""
        ...

    def forget(self, uow: SearchUnitOfWork, workspace_id: UUID) -> None:
        """Drop what a purged workspace has beside its rows."""
        ...
