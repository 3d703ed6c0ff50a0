"""How far the sequencer is behind the commits, and each subscriber behind the log."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, bindparam, func, select

from services.kernel import tables
from services.kernel.db import Session, compiled

_waiting = tables.outbox
_log = tables.event_log
_cursors = tables.cursors

_WAITING = compiled(select(func.count().label("events"), func.min(_waiting.c.time).label("since")))
_SUBSCRIBERS = compiled(
    select(
        _cursors.c.subscriber,
        func.greatest(bindparam("head", type_=BigInteger) - _cursors.c.position, 0).label("positions"),
        select(_log.c.log_time)
        .where(_log.c.position > _cursors.c.position)
        .order_by(_log.c.position)
        .limit(1)
        .scalar_subquery()
        .label("since"),
    ).order_by(_cursors.c.subscriber)
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Committed events without a position, and the age of the oldest in seconds."""

    events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SubscriberLag:
    """How many positions a subscriber is behind, and the age in seconds of the first event that it has not seen."""

    name: str
    positions: int
    seconds: float


def waiting(session: Session, now: datetime) -> Waiting:
    """What the sequencer has before it."""

    def make(events: int, since: datetime | None) -> Waiting:
        return Waiting(events, _age(since, now))

    return session.first(_WAITING, make) or Waiting(0, 0.0)


def subscribers(session: Session, head: int, now: datetime) -> list[SubscriberLag]:
    """What each subscriber has before it, by name, up to the log's head."""

    def make(subscriber: str, positions: int, since: datetime | None) -> SubscriberLag:
        return SubscriberLag(subscriber, positions, _age(since, now))

    return session.all(_SUBSCRIBERS, make, head=head)


def _age(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0
