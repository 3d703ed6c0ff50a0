"""How far each subscriber has read: one row each, moved in the commit of what the subscriber did."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from services.kernel import tables
from services.kernel.db import Session, compiled

_t = tables.cursors
_BEGIN = compiled(
    insert(_t)
    .values(subscriber=bindparam("name"), position=bindparam("position"), update_time=bindparam("now"))
    .on_conflict_do_nothing()
)
_FIND = compiled(select(_t.c.position).where(_t.c.subscriber == bindparam("name")))
_MOVE = compiled(
    update(_t)
    .where(_t.c.subscriber == bindparam("name"), _t.c.position == bindparam("before"))
    .values(position=bindparam("after"), update_time=bindparam("now"))
)


class CursorMoved(Exception):  # internal: another process has taken the subscription over
    """The cursor is not where this consumer left it, so none of what it just did may last."""


@dataclass(frozen=True, slots=True)
class _Cursor:
    position: int


def begin(session: Session, subscriber: str, position: int, now: datetime) -> int:
    """The subscriber's cursor; one that is new begins at `position`."""
    session.run(_BEGIN, name=subscriber, position=position, now=now)
    found = session.first(_FIND, _Cursor, name=subscriber)
    if found is None:
        raise CursorMoved
    return found.position


def move(session: Session, subscriber: str, before: int, after: int, now: datetime) -> None:
    """Move the cursor forward in this commit. Raises CursorMoved where it no longer is at `before`."""
    if not session.run(_MOVE, name=subscriber, before=before, after=after, now=now):
        raise CursorMoved
