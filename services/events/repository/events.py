"""The event log of a workspace, as the kernel keeps it, and where it begins and ends.

Restricted events are for subscribers inside the mesh: nobody else's query finds one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import ARRAY, Text, bindparam, func, select

from services.events.model.filters import EventFilter, like_patterns
from services.events.model.replays import Replay
from services.kernel.db import Session, Statement, compiled
from services.kernel.events import Event
from services.kernel.tables import cursors, event_days, event_log

_LAST = 2**63 - 1
# An event is in the log later than it happened; but the clocks of two machines may differ.
_SKEW = timedelta(days=1)

_t = event_log.c
_COLUMNS = [c for c in _t if c.name != "log_time"]
_of_workspace = _t.workspace_id == bindparam("workspace")
_for_people = ~_t.restricted
# By the names of EventFilter's fields.
_FILTERS = {
    "types": _t.type.op("like")(func.any(bindparam("types", type_=ARRAY(Text)))),
    "subject": _t.subject == bindparam("subject"),
    "actor": _t.actor == bindparam("actor"),
    "start_time": _t.time >= bindparam("start_time"),
    "end_time": _t.time < bindparam("end_time"),
}
_GET = compiled(select(*_COLUMNS).where(_of_workspace, _for_people, _t.id == bindparam("event")))
_HEAD = compiled(select(func.coalesce(func.max(_t.position), 0).label("position")).where(_of_workspace))
_DAY_BEFORE = compiled(
    select((func.coalesce(func.max(event_days.c.first_position), 1) - 1).label("position")).where(
        event_days.c.begin_time <= bindparam("time")
    )
)
_KNOWN = compiled(select(cursors.c.subscriber).where(cursors.c.subscriber == bindparam("name")))


class EventRepository:
    """Events of the session's workspace, to be read only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, workspace_id: UUID, event_id: UUID) -> Event | None:
        """The event, unless it is restricted."""
        return self._session.first(_GET, Event, workspace=workspace_id, event=event_id)

    def list_newest(self, workspace_id: UUID, wanted: EventFilter, before: int | None, count: int) -> list[Event]:
        """Events for people that the filter lets through, newest first, from before that position on."""
        values = _values(wanted)
        return self._session.all(
            _newest(frozenset(values)),
            Event,
            workspace=workspace_id,
            before=_LAST if before is None else before,
            count=count,
            **values,
        )

    def list_for(self, replay: Replay, count: int) -> list[Event]:
        """The next events of a replay, oldest first: to a subscriber, restricted ones too."""
        wanted = EventFilter(types=replay.types, start_time=replay.since, end_time=replay.until)
        values = _values(wanted)
        return self._session.all(
            _oldest(frozenset(values), restricted_too=replay.endpoint_id is None),
            Event,
            workspace=replay.workspace_id,
            after=replay.position,
            last=replay.last_position,
            count=count,
            **values,
        )

    def head(self, workspace_id: UUID) -> int:
        """The position of the workspace's newest event; 0 without any."""
        return self._session.first(_HEAD, lambda position: position, workspace=workspace_id) or 0

    def position_before(self, time: datetime) -> int:
        """A position that no event since that moment comes before; 0 where all may."""
        earliest = datetime.min.replace(tzinfo=UTC) + _SKEW
        return self._session.first(_DAY_BEFORE, lambda position: position, time=max(time, earliest) - _SKEW) or 0

    def knows_subscriber(self, name: str) -> bool:
        """Whether a worker has ever run a subscription of that name."""
        return self._session.first(_KNOWN, lambda subscriber: subscriber, name=name) is not None


def _values(wanted: EventFilter) -> Mapping[str, object]:
    given: dict[str, object] = {
        "types": like_patterns(wanted.types),
        "subject": wanted.subject,
        "actor": wanted.actor,
        "start_time": wanted.start_time,
        "end_time": wanted.end_time,
    }
    return {name: value for name, value in given.items() if value}


@cache
def _newest(filters: frozenset[str]) -> Statement:
    """Events for people that those filters let through, newest first; compiled once for each combination."""
    return compiled(
        select(*_COLUMNS)
        .where(_of_workspace, _for_people, _t.position < bindparam("before"))
        .where(*(restriction for name, restriction in _FILTERS.items() if name in filters))
        .order_by(_t.position.desc())
        .limit(bindparam("count"))
    )


@cache
def _oldest(filters: frozenset[str], *, restricted_too: bool) -> Statement:
    """The same, oldest first, within a range of positions; or all that they let through."""
    found = (
        select(*_COLUMNS)
        .where(_of_workspace, _t.position > bindparam("after"), _t.position <= bindparam("last"))
        .where(*(restriction for name, restriction in _FILTERS.items() if name in filters))
    )
    wanted = found if restricted_too else found.where(_for_people)
    return compiled(wanted.order_by(_t.position).limit(bindparam("count")))
