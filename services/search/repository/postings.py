"""Postings, as rows: one for each term of a segment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    LargeBinary,
    Text,
    and_,
    any_,
    bindparam,
    column,
    delete,
    exists,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.model.postings import shifted
from services.search.model.segments import SegmentState
from services.search.tables import postings, segments

_t = postings.c
_in_workspace = _t.workspace_id == bindparam("workspace")
_of_segments = _t.segment_id == any_(bindparam("segment_ids", type_=ARRAY(BigInteger)))
_given = (
    func.unnest(bindparam("terms", type_=ARRAY(Text)), bindparam("data", type_=ARRAY(LargeBinary)))
    .table_valued(column("term", Text), column("data", LargeBinary))
    .render_derived("given")
)
_ADD = compiled(
    insert(postings)
    .from_select(
        ["workspace_id", "segment_id", "term", "postings"],
        select(
            bindparam("workspace", type_=_t.workspace_id.type),
            bindparam("segment", type_=_t.segment_id.type),
            _given.c.term,
            _given.c.data,
        ),
    )
    .inline()
)
_wanted = (
    func.unnest(bindparam("terms", type_=ARRAY(Text)), bindparam("segment_ids", type_=ARRAY(BigInteger)))
    .table_valued(column("term", Text), column("segment_id", BigInteger))
    .render_derived("wanted")
)
# A segment that is live no more says nothing about a term that it has no postings of, so its state is asked for in the
# statement itself.
_FIND = compiled(
    select(_wanted.c.term, _wanted.c.segment_id, _t.postings, segments.c.first_chunk_no).select_from(
        _wanted.outerjoin(
            segments,
            and_(
                segments.c.workspace_id == bindparam("workspace"),
                segments.c.segment_id == _wanted.c.segment_id,
                segments.c.state == SegmentState.LIVE.value,
            ),
        ).outerjoin(postings, and_(_in_workspace, _t.term == _wanted.c.term, _t.segment_id == _wanted.c.segment_id))
    )
)
# A batch has so many bytes, or one term that has more. A row takes some hundred bytes in memory besides its own.
# The running sum counts batches, and the last term of each is its bound.
_BATCH_BYTES, _ROW_BYTES = 2 * 1024 * 1024, 500
_upto = func.sum(func.sum(func.octet_length(_t.postings) + _ROW_BYTES)).over(order_by=_t.term)
_sized = select(_t.term, _upto.label("upto")).where(_in_workspace, _of_segments).group_by(_t.term).subquery()
_BOUNDS = compiled(
    select(func.max(_sized.c.term).label("bound"))
    .group_by(func.div(_sized.c.upto, bindparam("step", type_=BigInteger)))
    .order_by("bound")
)
_its_segment = and_(segments.c.workspace_id == _t.workspace_id, segments.c.segment_id == _t.segment_id)
_RANGE = compiled(
    select(_t.term, _t.segment_id, _t.postings, segments.c.first_chunk_no)
    .join(segments, _its_segment)
    .where(_in_workspace, _of_segments, _t.term > bindparam("after"), _t.term <= bindparam("upto"))
)
_asked = func.unnest(bindparam("terms", type_=ARRAY(Text))).table_valued(column("term", Text)).render_derived("asked")
_LACKING = compiled(
    select(_asked.c.term).where(
        ~exists().where(
            _in_workspace,
            _t.term == _asked.c.term,
            _t.segment_id == segments.c.segment_id,
            segments.c.workspace_id == bindparam("workspace"),
            segments.c.state == SegmentState.LIVE.value,
        )
    )
)
_REMOVE = compiled(delete(postings).where(_in_workspace, _t.segment_id == bindparam("segment")))


@dataclass(frozen=True, slots=True)
class TermPostings:
    """The encoded postings of a term in a segment, None where it has none."""

    term: str
    segment_id: int
    data: bytes | None


class PostingRepository:
    """The postings of the session's workspace.

    They are kept as `postings.encoded` makes them: counted from the first number of their segment.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, workspace_id: UUID, segment_id: int, added: Mapping[str, bytes]) -> None:
        """Insert a segment's postings, or some of them, as they are kept."""
        self._session.run(
            _ADD,
            workspace=workspace_id,
            segment=segment_id,
            terms=arrays.texts(list(added)),
            data=arrays.blobs(list(added.values())),
        )

    def find(self, workspace_id: UUID, wanted: Sequence[tuple[str, int]]) -> list[TermPostings] | None:
        """The postings of terms in segments, each pair once; None where one of the segments is live no more."""
        rows = self._session.all(
            _FIND,
            lambda **columns: columns,
            workspace=workspace_id,
            terms=arrays.texts([term for term, _ in wanted]),
            segment_ids=arrays.bigints([segment_id for _, segment_id in wanted]),
        )
        if any(row["first_chunk_no"] is None for row in rows):
            return None
        return [_found(**row) for row in rows]

    def bounds(self, workspace_id: UUID, segment_ids: Sequence[int]) -> list[str]:
        """The last terms of the batches, ascending, in which the postings of some segments are to be read."""
        return self._session.all(
            _BOUNDS,
            lambda bound: bound,
            workspace=workspace_id,
            segment_ids=arrays.bigints(segment_ids),
            step=_BATCH_BYTES,
        )

    def between(self, workspace_id: UUID, segment_ids: Sequence[int], after: str, upto: str) -> list[dict[str, bytes]]:
        """Of each segment the encoded postings of the terms after one, up to and with another."""
        rows = self._session.all(
            _RANGE,
            lambda term, segment_id, postings, first_chunk_no: (segment_id, term, shifted(postings, first_chunk_no)),
            workspace=workspace_id,
            segment_ids=arrays.bigints(segment_ids),
            after=after,
            upto=upto,
        )
        found: defaultdict[int, dict[str, bytes]] = defaultdict(dict)
        for segment_id, term, data in rows:
            found[segment_id][term] = data
        return [found[segment_id] for segment_id in segment_ids]

    def lacking(self, workspace_id: UUID, terms: Sequence[str]) -> set[str]:
        """Those of the terms that no live segment has."""
        found = self._session.all(_LACKING, lambda term: term, workspace=workspace_id, terms=arrays.texts(terms))
        return set(found)

    def remove(self, workspace_id: UUID, segment_id: int) -> None:
        """Delete a segment's. It has a row for each term, so even a large one has no more than a language has words."""
        self._session.run(_REMOVE, workspace=workspace_id, segment=segment_id)


def _found(*, term: str, segment_id: int, postings: bytes | None, first_chunk_no: int) -> TermPostings:
    return TermPostings(term, segment_id, None if postings is None else shifted(postings, first_chunk_no))
