"""Postings, as rows: one for each term of a segment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary, Text, and_, any_, bindparam, column, delete, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel.db import Session, compiled
from services.kernel.jobs import arrays
from services.search.model.postings import Postings
from services.search.repository.segments import SegmentState
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
# In the statement itself: a segment that is live no more says nothing about a term that it has no postings of.
_live = (
    select(func.count())
    .where(
        segments.c.workspace_id == bindparam("workspace"),
        segments.c.segment_id == any_(bindparam("asked", type_=ARRAY(BigInteger))),
        segments.c.state == SegmentState.LIVE.value,
    )
    .scalar_subquery()
)
_FIND = compiled(
    select(_wanted.c.term, _wanted.c.segment_id, _t.postings, _live.label("live")).select_from(
        _wanted.outerjoin(
            postings, and_(_in_workspace, _t.term == _wanted.c.term, _t.segment_id == _wanted.c.segment_id)
        )
    )
)
_numbered = (
    select(_t.term, func.row_number().over(order_by=_t.term).label("number"))
    .where(_in_workspace, _t.segment_id == bindparam("segment"))
    .subquery()
)
_BOUNDS = compiled(
    select(_numbered.c.term)
    .where(_numbered.c.number % bindparam("step", type_=BigInteger) == 0)
    .order_by(_numbered.c.term)
)
_range = select(_t.term, _t.segment_id, _t.postings).where(_in_workspace, _of_segments, _t.term > bindparam("after"))
_RANGE = compiled(_range.where(_t.term <= bindparam("upto")))
_REST = compiled(_range)
_PAGE = compiled(
    select(_t.term, _t.postings)
    .where(_in_workspace, _t.segment_id == bindparam("segment"), _t.term > bindparam("after"))
    .order_by(_t.term)
    .limit(bindparam("count"))
)
_REMOVE = compiled(delete(postings).where(_in_workspace, _t.segment_id == bindparam("segment")))


@dataclass(frozen=True, slots=True)
class Found:
    """The encoded postings of a term in a segment, None where it has none."""

    term: str
    segment_id: int
    data: bytes | None


class PostingRepository:
    """The postings of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, workspace_id: UUID, segment_id: int, added: Mapping[str, Postings]) -> None:
        """Insert a segment's postings, or some of them."""
        self._session.run(
            _ADD,
            workspace=workspace_id,
            segment=segment_id,
            terms=arrays.texts(list(added)),
            data=arrays.blobs([one.encode() for one in added.values()]),
        )

    def find(self, workspace_id: UUID, wanted: Sequence[tuple[str, int]]) -> list[Found] | None:
        """The postings of terms in segments, each pair once; None where one of the segments is live no more."""
        asked = list({segment_id for _, segment_id in wanted})
        rows = self._session.all(
            _FIND,
            lambda term, segment_id, postings, live: (Found(term, segment_id, postings), int(live)),
            workspace=workspace_id,
            terms=arrays.texts([term for term, _ in wanted]),
            segment_ids=arrays.bigints([segment_id for _, segment_id in wanted]),
            asked=arrays.bigints(asked),
        )
        if any(live != len(asked) for _, live in rows):
            return None
        return [found for found, _ in rows]

    def bounds(self, workspace_id: UUID, segment_id: int, step: int) -> list[str]:
        """Every so-manieth term of a segment, ascending: it has no more than `step` from one to the next."""
        return self._session.all(_BOUNDS, lambda term: term, workspace=workspace_id, segment=segment_id, step=step)

    def between(
        self, workspace_id: UUID, segment_ids: Sequence[int], after: str, upto: str | None
    ) -> list[dict[str, Postings]]:
        """Of each segment the postings of the terms after one, up to and with another (None: all that follow)."""
        values: dict[str, object] = {"after": after} if upto is None else {"after": after, "upto": upto}
        rows = self._session.all(
            _REST if upto is None else _RANGE,
            lambda term, segment_id, postings: (str(term), int(segment_id), bytes(postings)),
            workspace=workspace_id,
            segment_ids=arrays.bigints(segment_ids),
            **values,
        )
        found: defaultdict[int, dict[str, Postings]] = defaultdict(dict)
        for term, segment_id, data in rows:
            found[segment_id][term] = Postings.decode(data)
        return [found[segment_id] for segment_id in segment_ids]

    def page(self, workspace_id: UUID, segment_id: int, after: str, count: int) -> list[tuple[str, bytes]]:
        """The next terms after one and their encoded postings in a segment."""
        return self._session.all(
            _PAGE,
            lambda term, postings: (term, postings),
            workspace=workspace_id,
            segment=segment_id,
            after=after,
            count=count,
        )

    def remove(self, workspace_id: UUID, segment_id: int) -> None:
        """Delete a segment's. It has a row for each term, so even a large one has no more than a language has words."""
        self._session.run(_REMOVE, workspace=workspace_id, segment=segment_id)
