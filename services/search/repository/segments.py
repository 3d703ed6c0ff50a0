"""Segments of postings, and the numbers in them that are dead, as rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Boolean,
    Integer,
    and_,
    any_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.model.segments import Segment, SegmentState
from services.search.tables import indexes, segments, tombstones

_t = segments.c
_d = tombstones.c
_in_workspace = _t.workspace_id == bindparam("workspace")
_these = and_(_in_workspace, _t.segment_id == any_(bindparam("segment_ids", type_=ARRAY(BigInteger))))
_dead_in_workspace = _d.workspace_id == bindparam("workspace")
_in_state = _t.state == bindparam("state")
_ADD = compiled(insert(segments).values({column.name: bindparam(column.name) for column in segments.columns}))
_SET_STATE = compiled(update(segments).where(_these, _in_state).values(state=bindparam("new_state")))
_in_segment = and_(
    _d.workspace_id == _t.workspace_id, _d.chunk_no >= _t.first_chunk_no, _d.chunk_no <= _t.last_chunk_no
)
_dead = select(func.count()).where(_in_segment).scalar_subquery()
_listed = (
    select(_t.segment_id, _t.level, _t.first_chunk_no, _t.last_chunk_no, _t.chunk_count)
    .where(_in_workspace, _in_state)
    .order_by(_t.first_chunk_no)
)
_LIST = compiled(_listed.add_columns(literal(0).label("dead")))
_LIST_WITH_DEAD = compiled(_listed.add_columns(_dead.label("dead")))
# As the index on them says it.
_unread = literal_column(f"search.segments.state in ('{SegmentState.BUILDING}', '{SegmentState.RETIRED}')", Boolean())
_IDS = compiled(select(_t.segment_id).where(_in_workspace, _unread))
_this = and_(_in_workspace, _t.segment_id == bindparam("segment"))
_HOLD = compiled(
    select(_t.segment_id.label("held")).where(_this, _t.state == SegmentState.BUILDING.value).with_for_update(read=True)
)
_REMOVE = compiled(delete(segments).where(_this))
_DOC_NOS = compiled(
    select(_t.first_chunk_no, _t.last_chunk_no, _t.doc_nos)
    .where(_in_workspace, _t.state == SegmentState.LIVE.value, _t.last_chunk_no >= bindparam("first"))
    .order_by(_t.first_chunk_no)
)
_DOC_NOS_OF = compiled(
    select(_t.first_chunk_no, _t.last_chunk_no, _t.doc_nos).where(_these).order_by(_t.first_chunk_no)
)
_BURY = compiled(
    insert(tombstones).from_select(
        ["workspace_id", "chunk_no"],
        select(
            bindparam("workspace", type_=_d.workspace_id.type),
            func.unnest(bindparam("chunk_nos", type_=ARRAY(Integer))),
        ),
    )
)
_DEAD = compiled(
    select(_d.chunk_no)
    .where(_dead_in_workspace, _d.chunk_no >= bindparam("first"), _d.chunk_no <= bindparam("last"))
    .order_by(_d.chunk_no)
)
_OVERDUE = compiled(
    select(_t.segment_id).where(
        _in_workspace,
        _t.state == SegmentState.LIVE.value,
        exists().where(_in_segment, _d.bury_time < bindparam("before")),
    )
)
_NEGLECTED = compiled(
    select(_d.workspace_id)
    .where(_d.bury_time < bindparam("before"))
    .union(
        select(indexes.c.workspace_id).where(indexes.c.rebuilding, indexes.c.purge_time.is_(None)),
        select(_t.workspace_id).where(_unread),
    )
    .order_by("workspace_id")
)
_UNBURY = compiled(
    delete(tombstones).where(_dead_in_workspace, _d.chunk_no == any_(bindparam("chunk_nos", type_=ARRAY(Integer))))
)


# All of it in one statement, so that it is of one moment.
_live_ids, _live_firsts, _live_lasts = (
    select(func.array_agg(aggregate_order_by(column, _t.first_chunk_no)))
    .where(_t.workspace_id == indexes.c.workspace_id, _t.state == SegmentState.LIVE.value)
    .scalar_subquery()
    for column in (_t.segment_id, _t.first_chunk_no, _t.last_chunk_no)
)
_dead_nos = (
    select(func.string_agg(func.int4send(_d.chunk_no), aggregate_order_by(bindparam("nothing", b""), _d.chunk_no)))
    .where(_d.workspace_id == indexes.c.workspace_id)
    .scalar_subquery()
)
_STATE = compiled(
    select(
        indexes.c.revision,
        indexes.c.chunk_count,
        indexes.c.term_count,
        indexes.c.next_chunk_no,
        indexes.c.next_doc_no,
        _live_ids.label("segment_ids"),
        _live_firsts.label("first_nos"),
        _live_lasts.label("last_nos"),
        _dead_nos.label("dead"),
    ).where(indexes.c.workspace_id == bindparam("workspace"))
)
_REVISION = compiled(select(indexes.c.revision).where(indexes.c.workspace_id == bindparam("workspace")))


class LiveSegment(NamedTuple):
    """A segment that readers look at, and from which number to which it may have passages."""

    segment_id: int
    first_no: int
    last_no: int

    @property
    def span(self) -> slice:
        """Its places in what has one for each number."""
        return slice(self.first_no, self.last_no + 1)


@dataclass(frozen=True, slots=True, eq=False)
class IndexState:
    """What readers have to know of an index, all of one moment: its live segments in order, and what is dead."""

    revision: int
    chunk_count: int
    term_count: int
    next_chunk_no: int
    next_doc_no: int
    segments: tuple[LiveSegment, ...]
    dead: NDArray[np.int32]


class SegmentRepository:
    """The segments of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, workspace_id: UUID, segment: Segment, doc_nos: NDArray[np.int32], state: SegmentState) -> None:
        """Insert it. `doc_nos` has one for each number from its first to its last, -1 where it has no passage."""
        self._session.run(
            _ADD,
            workspace_id=workspace_id,
            segment_id=segment.segment_id,
            level=segment.level,
            first_chunk_no=segment.first_no,
            last_chunk_no=segment.last_no,
            chunk_count=segment.chunk_count,
            state=state,
            doc_nos=doc_nos.astype("<i4").tobytes(),
        )

    def revision(self, workspace_id: UUID) -> int | None:
        """That of the index; None where there is none yet."""
        return self._session.first(_REVISION, lambda revision: revision, workspace=workspace_id)

    def state(self, workspace_id: UUID) -> IndexState | None:
        """What readers have to know; None where there is no index yet."""
        return self._session.first(_STATE, _state, workspace=workspace_id)

    def list_in(self, workspace_id: UUID, state: SegmentState, *, count_dead: bool) -> list[Segment]:
        """The segments in a state, in the order of their numbers; without `count_dead` none of these counts as dead."""
        statement = _LIST_WITH_DEAD if count_dead else _LIST
        return self._session.all(statement, _segment, workspace=workspace_id, state=state)

    def unread(self, workspace_id: UUID) -> list[int]:
        """The ids of those that are read no more, or are not whole."""
        return self._session.all(_IDS, lambda segment_id: segment_id, workspace=workspace_id)

    def turn(self, workspace_id: UUID, segment_ids: Sequence[int], before: SegmentState, after: SegmentState) -> int:
        """Bring segments from one state to another: how many were in it."""
        return self._session.run(
            _SET_STATE,
            workspace=workspace_id,
            segment_ids=arrays.bigints(segment_ids),
            state=before,
            new_state=after,
        )

    def hold(self, workspace_id: UUID, segment_id: int) -> bool:
        """Whether a segment is still being built; it stays so until the commit."""
        return self._session.first(_HOLD, lambda held: held, workspace=workspace_id, segment=segment_id) is not None

    def remove(self, workspace_id: UUID, segment_id: int) -> None:
        """Delete a segment, whose postings are gone."""
        self._session.run(_REMOVE, workspace=workspace_id, segment=segment_id)

    def doc_nos(self, workspace_id: UUID, first: int, end: int) -> NDArray[np.int32]:
        """The documents of the passages from `first` below `end`, as the live segments say it; -1: of none."""
        rows = self._session.all(_DOC_NOS, _numbers, workspace=workspace_id, first=first)
        return _laid_out(rows, first, end)

    def doc_nos_in(
        self, workspace_id: UUID, read: Sequence[LiveSegment]
    ) -> dict[LiveSegment, NDArray[np.int32]] | None:
        """The documents of the passages of each segment, -1: of none; None where a segment is not there any more."""
        ids = arrays.bigints([segment.segment_id for segment in read])
        rows = self._session.all(_DOC_NOS_OF, _numbers, workspace=workspace_id, segment_ids=ids)
        if len(rows) < len(read):
            return None
        by_first = {first_no: numbers for first_no, _, numbers in rows}
        return {segment: by_first[segment.first_no] for segment in read}

    def doc_nos_of(self, workspace_id: UUID, merged: Sequence[Segment]) -> NDArray[np.int32]:
        """The documents of the passages of neighbours, from the first one's first number to the last one's last."""
        ids = arrays.bigints([segment.segment_id for segment in merged])
        rows = self._session.all(_DOC_NOS_OF, _numbers, workspace=workspace_id, segment_ids=ids)
        return _laid_out(rows, merged[0].first_no, merged[-1].last_no + 1)

    def bury(self, workspace_id: UUID, chunk_nos: Sequence[int]) -> None:
        """These numbers are dead from now on."""
        self._session.run(_BURY, workspace=workspace_id, chunk_nos=arrays.integers(chunk_nos))

    def dead(self, workspace_id: UUID, first: int, last: int) -> NDArray[np.int32]:
        """The dead numbers from first to last, ascending."""
        found = self._session.all(_DEAD, lambda chunk_no: chunk_no, workspace=workspace_id, first=first, last=last)
        return np.array(found, np.int32)

    def overdue(self, workspace_id: UUID, before: datetime) -> list[int]:
        """The ids of the live segments in which something died before then."""
        return self._session.all(_OVERDUE, lambda segment_id: segment_id, workspace=workspace_id, before=before)

    def neglected(self, before: datetime) -> list[UUID]:
        """The workspaces with something to do for who looks after them; in a system session.

        Something died there before then, is to be built anew, or is read no more.
        """
        return self._session.all(_NEGLECTED, lambda workspace_id: workspace_id, before=before)

    def unbury(self, workspace_id: UUID, chunk_nos: Iterable[int]) -> None:
        """Forget dead numbers that no segment has any more."""
        self._session.run(_UNBURY, workspace=workspace_id, chunk_nos=arrays.integers(list(map(int, chunk_nos))))


_Numbers = tuple[int, int, NDArray[np.int32]]


def _laid_out(rows: Sequence[_Numbers], first: int, end: int) -> NDArray[np.int32]:
    found = np.full(max(end - first, 0), -1, np.int32)
    for first_no, last_no, numbers in rows:
        begin, stop = max(first_no, first), min(last_no + 1, end)
        found[begin - first : stop - first] = numbers[begin - first_no : stop - first_no]
    return found


def _numbers(*, first_chunk_no: int, last_chunk_no: int, doc_nos: bytes) -> _Numbers:
    return first_chunk_no, last_chunk_no, np.frombuffer(doc_nos, "<i4")


def _segment(
    *, segment_id: int, level: int, first_chunk_no: int, last_chunk_no: int, chunk_count: int, dead: int
) -> Segment:
    return Segment(segment_id, level, first_chunk_no, last_chunk_no, chunk_count, dead)


def _state(
    *,
    revision: int,
    chunk_count: int,
    term_count: int,
    next_chunk_no: int,
    next_doc_no: int,
    segment_ids: list[int] | None,
    first_nos: list[int] | None,
    last_nos: list[int] | None,
    dead: bytes | None,
) -> IndexState:
    return IndexState(
        revision,
        chunk_count,
        term_count,
        next_chunk_no,
        next_doc_no,
        tuple(map(LiveSegment, segment_ids or (), first_nos or (), last_nos or ())),
        np.frombuffer(dead or b"", ">i4").astype(np.int32),
    )
