"""The sequencer: moves committed events from the outbox to the log, and gives each its position.

One of all processes is elected. Everything that it does runs on the connection that holds the lock, so whoever lost the
lock can move nothing: no two of them ever draw positions.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import structlog
from psycopg import errors as pg
from psycopg.rows import class_row, scalar_row

from services.kernel import election, event_log, outbox
from services.kernel.clock import Clock
from services.kernel.partitions import begin_of_day

# An office of one seat: `SEQU`, and its only key.
_OFFICE, _SEAT = 0x53455155, 0
_STANDBY_SECONDS = 1.8
_RETRY_SECONDS = 0.25
_BATCH = 2000
# While events come: how long to let some gather, and how long without any until it falls asleep.
_PACE_SECONDS = 0.003
_DROWSY_SECONDS = 0.05
# Asleep, a commit wakes it. A notice that was lost all the same is made up for with the next sign of life.
_LOOK_SECONDS = election.SIGN_SECONDS
_SLICE_SECONDS = 0.25
# Longer than any transaction of ours may last (`transaction_timeout` of the logins).
SETTLED_SECONDS = 75.0
_SESSION = """
    set role plinth_sequencer;
    set enable_seqscan = off; set enable_bitmapscan = off;
    set tcp_keepalives_idle = 1; set tcp_keepalives_interval = 1; set tcp_keepalives_count = 1"""
# One statement, which Core has no words for: a DELETE that feeds two INSERTs. By ctid, so that the plan never depends
# on what the statistics say of a table that is now empty and now full; nobody updates the rows of an outbox.
_MOVE = """
    with moved as (
        delete from kernel.outbox where ctid = any (array(
            select ctid from kernel.outbox where sequence > %(floor)s order by sequence limit %(limit)s
        )) returning *
    ), appended as (
        insert into kernel.event_log (
            position, log_time,
            id, workspace_id, type, source, subject, time, data_schema, data, actor, traceparent, restricted
        ) select
            %(position)s + row_number() over (order by sequence), %(now)s,
            id, workspace_id, type, source, subject, time, data_schema, data, actor, traceparent, restricted
        from moved
    ), day as (
        insert into kernel.event_days (begin_time, first_position)
        select %(day)s, %(position)s + 1 from moved limit 1 on conflict do nothing
    )
    select array_agg(sequence order by sequence) as sequences,
        pg_notify(%(channel)s, (%(position)s + count(*))::text) as told
    from moved having count(*) > 0"""
_LAST = """
    select position, log_time from kernel.event_log
    where log_time >= (select coalesce(max(begin_time), to_timestamp(0)) from kernel.event_days)
    union all select dropped, to_timestamp(0) from kernel.event_retention
    order by position desc limit 1"""
_FALL_ASLEEP = "select pg_try_advisory_lock(%s, %s)"
_WAKE_UP = "select pg_advisory_unlock(%s, %s)"

_log = structlog.get_logger("plinth.sequencer")


@dataclass(frozen=True, slots=True)
class _Moved:
    sequences: list[int]
    told: str


@dataclass(frozen=True, slots=True)
class _Last:
    position: int
    log_time: datetime


@dataclass(frozen=True, slots=True)
class _Gap:
    """Sequences that did not come with those around them; `since` in monotonic seconds."""

    first: int
    last: int
    since: float


class Floor:
    """Up to which sequence the outbox is done with, so that the dead rows below are not read again.

    A commit may come later than those of higher sequences. What it drew is a gap until then, and the floor stays below
    a gap until no transaction can still be under way that has drawn it.
    """

    def __init__(self) -> None:
        self._highest = 0
        self._gaps: list[_Gap] = []

    def passed(self, sequences: Sequence[int], now: float) -> None:
        """These came, in order; `now` in monotonic seconds."""
        for sequence in sequences:
            if sequence > self._highest:
                if sequence > self._highest + 1:
                    self._gaps.append(_Gap(self._highest + 1, sequence - 1, now))
                self._highest = sequence
            else:
                self._gaps = [part for gap in self._gaps for part in _without(gap, sequence)]

    def at(self, now: float) -> int:
        """Every sequence up to this one is done with."""
        self._gaps = [gap for gap in self._gaps if now - gap.since < SETTLED_SECONDS]
        return self._gaps[0].first - 1 if self._gaps else self._highest


def _without(gap: _Gap, sequence: int) -> list[_Gap]:
    if not gap.first <= sequence <= gap.last:
        return [gap]
    parts = [_Gap(gap.first, sequence - 1, gap.since), _Gap(sequence + 1, gap.last, gap.since)]
    return [part for part in parts if part.first <= part.last]


class Sequencer:
    """Runs for the whole life of a process, and moves events while it is the elected one.

    `ensure` makes the log's partition for a moment, see `Partitions.ensure`.
    """

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], clock: Clock, *, ensure: Callable[[datetime], None]
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._ensure = ensure
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plinth-sequencer", daemon=True)
        self._leading = False
        self._asleep = False
        self._floor = Floor()
        self._moved_at = 0.0
        self._last = _Last(0, datetime.fromtimestamp(0, UTC))

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch at hand, and let another take over."""
        self._stopping.set()
        self._thread.join()

    def leading(self) -> bool:
        """Whether this process is the elected one."""
        return self._leading

    def asleep(self) -> bool:
        """Whether it waits to be woken by a commit."""
        return self._asleep

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    if self._elected(connection):
                        self._lead(connection)
            except psycopg.Error as error:
                _log.warning("sequencer.lost", error=type(error).__name__, retry_seconds=_RETRY_SECONDS)
                self._stopping.wait(_RETRY_SECONDS)
            finally:
                self._leading = self._asleep = False

    def _elected(self, connection: psycopg.Connection[Any]) -> bool:
        """Stand by until the lock is free; False when told to stop."""
        while not self._stopping.is_set():
            # Asked again and again: a statement that waits for the lock would keep vacuum from its work.
            if election.stand(connection, _OFFICE, [_SEAT]):
                return True
            self._stopping.wait(_STANDBY_SECONDS)
        return False

    def _lead(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(_SESSION)
        connection.execute(f"listen {outbox.CHANNEL}")
        with connection.cursor(row_factory=class_row(_Last)) as cursor:
            self._last = cursor.execute(_LAST).fetchone() or self._last
        self._floor = Floor()
        self._leading = True
        _log.info("sequencer.elected", position=self._last.position)
        self._moved_at = time.monotonic()
        while not self._stopping.is_set():
            if self._move(connection) < _BATCH:
                self._pause(connection)

    def _move(self, connection: psycopg.Connection[Any]) -> int:
        """Move what is committed, in the order of its sequences; how many."""
        now = max(self._clock.now(), self._last.log_time)
        params = {
            "floor": self._floor.at(time.monotonic()),
            "limit": _BATCH,
            "position": self._last.position,
            "now": now,
            "day": begin_of_day(now),
            "channel": event_log.CHANNEL,
        }
        try:
            with connection.cursor(row_factory=class_row(_Moved)) as cursor:
                moved = cursor.execute(_MOVE, params, prepare=True).fetchone()
        except pg.CheckViolation:
            # No partition for this moment: the maintenance did not run, or a clock leapt.
            self._ensure(now)
            return 0
        if moved is None:
            return 0
        self._moved_at = time.monotonic()
        self._floor.passed(moved.sequences, self._moved_at)
        self._last = _Last(self._last.position + len(moved.sequences), now)
        return len(moved.sequences)

    def _pause(self, connection: psycopg.Connection[Any]) -> None:
        """Let some gather; or sleep until a commit tells that it has something."""
        drowsy = time.monotonic() - self._moved_at > _DROWSY_SECONDS
        # Not while a commit is under way, which could no longer wake it.
        if not drowsy or not _ask(connection, _FALL_ASLEEP, outbox.LOCK_CLASS, outbox.SLEEP_LOCK):
            self._stopping.wait(_PACE_SECONDS)
            return
        while not self._stopping.is_set() and not self._move(connection):
            self._asleep = True
            if self._woken(connection):
                break
        self._asleep = False
        _ask(connection, _WAKE_UP, outbox.LOCK_CLASS, outbox.SLEEP_LOCK)

    def _woken(self, connection: psycopg.Connection[Any]) -> bool:
        """Wait for a commit's notice, for so long."""
        until = time.monotonic() + _LOOK_SECONDS
        while not self._stopping.is_set() and time.monotonic() < until:
            for _ in connection.notifies(timeout=_SLICE_SECONDS, stop_after=1):
                return True
        return False


def _ask(connection: psycopg.Connection[Any], query: LiteralString, *params: int) -> bool:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return bool(cursor.execute(query, params).fetchone())
