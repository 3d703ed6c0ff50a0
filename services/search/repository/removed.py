"""Passages that are gone while their words are counted still, as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Integer, and_, any_, bindparam, delete, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.model.passages import Readable
from services.search.tables import removed_chunks

_t = removed_chunks.c
_of_document = and_(_t.workspace_id == bindparam("workspace"), _t.document_id == bindparam("document"))
_READ = compiled(
    select(_t.chunk_no, _t.headings, _t.text, _t.language)
    .where(_of_document)
    .order_by(_t.chunk_no)
    .limit(bindparam("count"))
)
_TAKE = compiled(
    delete(removed_chunks)
    .where(_of_document, _t.chunk_no == any_(bindparam("chunk_nos", type_=ARRAY(Integer))))
    .returning(_t.chunk_no, _t.counted_for, _t.generation)
)


@dataclass(frozen=True, slots=True)
class Removed:
    """A passage that is gone; its words are counted for this audience as long as the index is of this generation."""

    chunk_no: int
    counted_for: int
    generation: int


class RemovedRepository:
    """Passages of the session's workspace that are gone."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, workspace_id: UUID, document_id: UUID, count: int) -> dict[int, Readable]:
        """What the first ones of a document held, by number."""
        return dict(
            self._session.all(
                _READ,
                lambda chunk_no, **content: (chunk_no, Readable.of(**content)),
                workspace=workspace_id,
                document=document_id,
                count=count,
            )
        )

    def take(self, workspace_id: UUID, document_id: UUID, chunk_nos: Sequence[int]) -> list[Removed]:
        """Delete these, whose words are to be counted no more: those that were there still."""
        return self._session.all(
            _TAKE, Removed, workspace=workspace_id, document=document_id, chunk_nos=arrays.integers(chunk_nos)
        )
