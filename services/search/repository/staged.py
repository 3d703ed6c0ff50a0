"""Staged passages, as rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Integer, Text, Uuid, and_, bindparam, column, delete, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import TypeEngine

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.model.passages import Passage, Place, Readable, Staged
from services.search.repository.batches import delete_some
from services.search.tables import staged_chunks

_t = staged_chunks.c
_of_document = and_(_t.workspace_id == bindparam("workspace"), _t.document_id == bindparam("document"))
_of_version = and_(_of_document, _t.document_version == bindparam("version"))
_GIVEN: dict[str, TypeEngine[Any]] = {
    "ordinal": Integer(),
    "chunk_id": Uuid(),
    "text": Text(),
    "headings": ARRAY(Text),
    "page": Integer(),
    "start_offset": Integer(),
    "end_offset": Integer(),
    "language": Text(),
}
# One parameter for all passages: their headings are lists of different lengths, which no array of arrays holds.
_given = (
    func.jsonb_to_recordset(bindparam("passages", type_=JSONB))
    .table_valued(*(column(name, kind) for name, kind in _GIVEN.items()), name="given")
    .render_derived(with_types=True)
)
_added = upsert(staged_chunks).from_select(
    ["workspace_id", "document_id", "document_version", "stage_time", *_GIVEN],
    select(
        *(bindparam(name, type_=_t[name].type) for name in ("workspace_id", "document_id")),
        bindparam("document_version", type_=Integer),
        bindparam("stage_time", type_=_t.stage_time.type),
        *(_given.c[name] for name in _GIVEN),
    ),
)
_PUT = compiled(
    _added.on_conflict_do_update(
        index_elements=["workspace_id", "document_id", "document_version", "ordinal"],
        set_={name: _added.excluded[name] for name in (*_GIVEN, "stage_time") if name != "ordinal"},
        where=or_(
            *(_t[name].is_distinct_from(_added.excluded[name]) for name in _GIVEN if name not in ("ordinal", "text"))
        ),
    ).inline()
)
_PLACE = (_t.ordinal, _t.page, _t.start_offset, _t.end_offset)
_LIST = compiled(
    select(_t.chunk_id, _t.language, *_PLACE).where(_of_version, _t.ordinal < bindparam("count")).order_by(_t.ordinal)
)
_READ = compiled(
    select(_t.chunk_id, _t.headings, _t.text, _t.language).where(
        _of_version, _t.ordinal.in_(select(func.unnest(bindparam("ordinals", type_=ARRAY(Integer)))))
    )
)
_REMOVE = compiled(delete(staged_chunks).where(_of_document, _t.document_version <= bindparam("version")))
_REMOVE_ALL = compiled(delete(staged_chunks).where(_of_document))
_SWEEP = delete_some(staged_chunks, _t.stage_time < bindparam("before"))


class StagedRepository:
    """The staged passages of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(
        self, workspace_id: UUID, document_id: UUID, version: int, passages: Sequence[Passage], now: datetime
    ) -> None:
        """Insert them, or put them in the place of others with their ordinals; the same ones again change nothing."""
        rows = [
            {
                "ordinal": passage.place.ordinal,
                "chunk_id": str(passage.chunk_id),
                "text": passage.text,
                "headings": passage.headings,
                "page": passage.place.page,
                "start_offset": passage.place.start,
                "end_offset": passage.place.end,
                "language": passage.language,
            }
            for passage in passages
        ]
        self._session.run(
            _PUT,
            workspace_id=workspace_id,
            document_id=document_id,
            document_version=version,
            stage_time=now,
            passages=Jsonb(rows),
        )

    def list_of(self, workspace_id: UUID, document_id: UUID, version: int, count: int) -> list[Staged]:
        """The first `count` passages of a version, as far as they are here, in order."""
        return self._session.all(
            _LIST, _staged, workspace=workspace_id, document=document_id, version=version, count=count
        )

    def read(
        self, workspace_id: UUID, document_id: UUID, version: int, passages: Sequence[Staged]
    ) -> dict[tuple[UUID, str], Readable]:
        """What these passages hold, by their keys."""
        found = self._session.all(
            _READ,
            lambda chunk_id, **content: (chunk_id, Readable.of(**content)),
            workspace=workspace_id,
            document=document_id,
            version=version,
            ordinals=arrays.integers([passage.place.ordinal for passage in passages]),
        )
        return {(chunk_id, readable.language): readable for chunk_id, readable in found}

    def remove(self, workspace_id: UUID, document_id: UUID, version: int) -> None:
        """Delete those of a version and of all before it."""
        self._session.run(_REMOVE, workspace=workspace_id, document=document_id, version=version)

    def remove_all(self, workspace_id: UUID, document_id: UUID) -> None:
        """Delete those of every version of a document."""
        self._session.run(_REMOVE_ALL, workspace=workspace_id, document=document_id)

    def sweep(self, before: datetime, count: int) -> int:
        """Delete what was staged before then, of any workspace, at most so many: how many; in a system session."""
        return self._session.run(_SWEEP, before=before, count=count)


def _staged(*, chunk_id: UUID, language: str, ordinal: int, page: int, start_offset: int, end_offset: int) -> Staged:
    return Staged(chunk_id, language, Place(ordinal, page, start_offset, end_offset))
