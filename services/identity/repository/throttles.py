"""Counters of failures, kept under hashed keys: the table names nobody."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import BindParameter, any_, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, insert

from services.identity.model.throttle import Counter
from services.identity.tables import throttles
from services.kernel.db import Session, compiled

_c = throttles.c
_KEY: BindParameter[bytes] = bindparam("of")

_FIND = compiled(select(throttles).where(_c.key == any_(bindparam("keys", type_=ARRAY(BYTEA)))))
# The update changes nothing: it makes the row, or holds it, until the commit.
_LOCK = compiled(
    insert(throttles)
    .values(key=bindparam("key"), level=0.0, last_time=bindparam("now"))
    .on_conflict_do_update(index_elements=["key"], set_={"level": _c.level})
    .returning(_c.level, _c.last_time)
)
_SET = compiled(update(throttles).where(_c.key == _KEY).values(level=bindparam("to"), last_time=bindparam("now")))
_CLEAR = compiled(delete(throttles).where(_c.key == _KEY))
_SWEEP = compiled(delete(throttles).where(_c.last_time < bindparam("before")))


class ThrottleRepository:
    """Reads and writes counters."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Counter]:
        """Those of the counters that exist."""
        return dict(self._session.all(_FIND, _entry, keys=list(keys)))

    def lock(self, key: bytes, now: datetime) -> Counter:
        """The counter, made at zero if need be, held until the commit. Lock several in the order of their keys."""
        counter = self._session.first(_LOCK, Counter, key=key, now=now)
        if counter is None:
            raise LookupError("an upsert returns its row")
        return counter

    def set(self, key: bytes, counter: Counter) -> None:
        """Store a counter that is locked."""
        self._session.run(_SET, of=key, to=counter.level, now=counter.last_time)

    def clear(self, key: bytes) -> None:
        """Forget a counter."""
        self._session.run(_CLEAR, of=key)

    def sweep(self, before: datetime) -> int:
        """Forget the counters that nothing was added to since; how many."""
        return self._session.run(_SWEEP, before=before)


def _entry(key: bytes, level: float, last_time: datetime) -> tuple[bytes, Counter]:
    return key, Counter(level, last_time)
