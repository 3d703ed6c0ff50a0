"""Segments of passages that wait to be published, as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from sqlalchemy import (
    BigInteger,
    Integer,
    LargeBinary,
    and_,
    any_,
    bindparam,
    column,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.model.segments import Segment, SegmentState
from services.search.tables import segments, staged_segments

_t = staged_segments.c
_s = segments.c
_of_document = and_(_t.workspace_id == bindparam("workspace"), _t.document_id == bindparam("document"))
_ids = any_(bindparam("segment_ids", type_=ARRAY(BigInteger)))
_these = and_(_t.workspace_id == bindparam("workspace"), _t.segment_id == _ids)
_ADD_SEGMENT = compiled(insert(segments).values({one.name: bindparam(one.name) for one in segments.columns}))
_ADD = compiled(insert(staged_segments).values({one.name: bindparam(one.name) for one in staged_segments.columns}))
_LIST = compiled(
    select(_t.segment_id, _t.document_version, _t.chunk_ids, _t.languages, _t.lengths)
    .where(_of_document)
    .order_by(_t.segment_id)
)
_given = (
    func.unnest(
        bindparam("segment_ids", type_=ARRAY(BigInteger)),
        *(bindparam(name, type_=ARRAY(Integer)) for name in ("levels", "first_nos", "last_nos")),
        bindparam("doc_nos", type_=ARRAY(LargeBinary)),
    )
    .table_valued(
        column("segment_id", BigInteger),
        *(column(name, Integer) for name in ("level", "first_no", "last_no")),
        column("doc_nos", LargeBinary),
    )
    .render_derived("given")
)
_staged = _s.state == SegmentState.STAGED.value
_PUBLISH = compiled(
    update(segments)
    .where(_s.workspace_id == bindparam("workspace"), _s.segment_id == _given.c.segment_id, _staged)
    .values(
        state=SegmentState.LIVE.value,
        level=_given.c.level,
        first_chunk_no=_given.c.first_no,
        last_chunk_no=_given.c.last_no,
        doc_nos=_given.c.doc_nos,
    )
)
_RETIRE = compiled(
    update(segments)
    .where(_s.workspace_id == bindparam("workspace"), _s.segment_id == _ids, _staged)
    .values(state=SegmentState.RETIRED.value)
)
_FORGET = compiled(delete(staged_segments).where(_these))
_OLD = compiled(
    select(_t.workspace_id, func.array_agg(_t.segment_id).label("segment_ids"))
    .where(_t.stage_time < bindparam("before"))
    .group_by(_t.workspace_id)
    .limit(bindparam("count"))
)


@dataclass(frozen=True, slots=True)
class StagedSegment:
    """A whole segment without a place: of which version, and its passages in order, with their lengths in terms."""

    segment_id: int
    version: int
    keys: tuple[tuple[UUID, str], ...]
    lengths: tuple[int, ...]


class StagedSegmentRepository:
    """The segments of the session's workspace that wait to be published."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, workspace_id: UUID, document_id: UUID, staged: StagedSegment, now: datetime) -> None:
        """Insert it."""
        self._session.run(
            _ADD_SEGMENT,
            workspace_id=workspace_id,
            segment_id=staged.segment_id,
            level=0,
            first_chunk_no=0,
            last_chunk_no=len(staged.keys) - 1,
            chunk_count=len(staged.keys),
            state=SegmentState.STAGED,
            doc_nos=b"",
        )
        self._session.run(
            _ADD,
            workspace_id=workspace_id,
            segment_id=staged.segment_id,
            document_id=document_id,
            document_version=staged.version,
            chunk_ids=arrays.uuids([chunk_id for chunk_id, _ in staged.keys]),
            languages=arrays.texts([language for _, language in staged.keys]),
            lengths=arrays.integers(staged.lengths),
            stage_time=now,
        )

    def list_of(self, workspace_id: UUID, document_id: UUID) -> list[StagedSegment]:
        """Those of a document, of whatever version."""
        return self._session.all(_LIST, _segment, workspace=workspace_id, document=document_id)

    def publish(self, workspace_id: UUID, placed: Sequence[Segment], doc_no: int) -> int:
        """Have them read, under the numbers that they are given here: how many were there still."""
        doc_nos = [np.full(segment.chunk_count, doc_no, "<i4").tobytes() for segment in placed]
        ids = [segment.segment_id for segment in placed]
        self._forget(workspace_id, ids)
        return self._session.run(
            _PUBLISH,
            workspace=workspace_id,
            segment_ids=arrays.bigints(ids),
            levels=arrays.integers([segment.level for segment in placed]),
            first_nos=arrays.integers([segment.first_no for segment in placed]),
            last_nos=arrays.integers([segment.last_no for segment in placed]),
            doc_nos=arrays.blobs(doc_nos),
        )

    def retire(self, workspace_id: UUID, segment_ids: Sequence[int]) -> None:
        """Nobody wants them any more: who looks after the index deletes them."""
        self._forget(workspace_id, segment_ids)
        self._session.run(_RETIRE, workspace=workspace_id, segment_ids=arrays.bigints(segment_ids))

    def old(self, before: datetime, count: int) -> list[tuple[UUID, list[int]]]:
        """Those that were staged before then, of so many workspaces; in a system session."""
        return self._session.all(
            _OLD,
            lambda workspace_id, segment_ids: (workspace_id, segment_ids),
            before=before,
            count=count,
        )

    def _forget(self, workspace_id: UUID, segment_ids: Sequence[int]) -> None:
        self._session.run(_FORGET, workspace=workspace_id, segment_ids=arrays.bigints(segment_ids))


def _segment(
    *, segment_id: int, document_version: int, chunk_ids: list[UUID], languages: list[str], lengths: list[int]
) -> StagedSegment:
    return StagedSegment(segment_id, document_version, tuple(zip(chunk_ids, languages, strict=True)), tuple(lengths))
