"""Published passages as they are shown, with what is known of their documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Integer, and_, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.model.passages import Place, Readable
from services.search.tables import chunks, documents

_t = chunks.c
_d = documents.c
_in_workspace = _t.workspace_id == bindparam("workspace")
_READ = compiled(
    select(
        _t.chunk_no,
        _t.chunk_id,
        _t.document_id,
        _d.document_version,
        _d.media_type,
        _t.length,
        _t.ordinal,
        _t.page,
        _t.start_offset,
        _t.end_offset,
        _t.headings,
        _t.text,
        _t.language,
    )
    .join(documents, and_(_d.workspace_id == _t.workspace_id, _d.document_id == _t.document_id))
    .where(_in_workspace, _t.chunk_no == any_(bindparam("chunk_nos", type_=ARRAY(Integer))))
)
_TEXTS = compiled(
    select(_t.chunk_no, _t.headings, _t.text).where(
        _in_workspace, _t.chunk_no == any_(bindparam("chunk_nos", type_=ARRAY(Integer)))
    )
)
_NUMBER = compiled(select(_t.chunk_no).where(_in_workspace, _t.chunk_id == bindparam("chunk")))


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage with all that is shown of it. `length` is in terms."""

    chunk_no: int
    chunk_id: UUID
    document_id: UUID
    version: int
    media_type: str
    length: int
    place: Place
    readable: Readable


class FoundRepository:
    """The published passages of the session's workspace, by their numbers."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, workspace_id: UUID, chunk_nos: Sequence[int]) -> list[FoundPassage]:
        """Those of the passages that are still there, in the order of these numbers."""
        rows = self._session.all(_READ, _found, workspace=workspace_id, chunk_nos=arrays.integers(chunk_nos))
        by_number = {row.chunk_no: row for row in rows}
        return [by_number[chunk_no] for chunk_no in chunk_nos if chunk_no in by_number]

    def texts(self, workspace_id: UUID, chunk_nos: Sequence[int]) -> dict[int, str]:
        """What those of the passages are found by that are still there."""
        rows = self._session.all(
            _TEXTS,
            lambda chunk_no, headings, text: (int(chunk_no), Readable(tuple(headings), text, "").whole),
            workspace=workspace_id,
            chunk_nos=arrays.integers(chunk_nos),
        )
        return dict(rows)

    def number(self, workspace_id: UUID, chunk_id: UUID) -> int | None:
        """The number of a passage; None where there is no such one."""
        return self._session.first(_NUMBER, lambda chunk_no: chunk_no, workspace=workspace_id, chunk=chunk_id)


def _found(
    *,
    chunk_no: int,
    chunk_id: UUID,
    document_id: UUID,
    document_version: int,
    media_type: str,
    length: int,
    ordinal: int,
    page: int,
    start_offset: int,
    end_offset: int,
    headings: list[str],
    text: str,
    language: str,
) -> FoundPassage:
    place = Place(ordinal, page, start_offset, end_offset)
    readable = Readable(tuple(headings), text, language)
    return FoundPassage(chunk_no, chunk_id, document_id, document_version, media_type, length, place, readable)
