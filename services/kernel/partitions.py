"""The days of the event log: made ahead, dropped after the retention, without ever blocking a reader or the sequencer.

They are attached, and detached concurrently: both take a lock that reading and appending do not meet. What was cut
short in between is finished the next time.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog
from psycopg import sql
from psycopg.rows import class_row, scalar_row

from services.kernel.clock import Clock

DAY = timedelta(days=1)

# Two at once would make a day twice, or drop one that the other has detached.
_MAKE_LOCK, _DROP_LOCK = 0x45564E544D414B45, 0x45564E5444524F50
_CHECK_SECONDS = 3600.0
_RETRY_SECONDS = 60.0
_NAME = "event_log_%Y%m%d"
# The catalogue's tables, and DDL with names that only exist at run time: Core has no words for them.
_DAYS = """
    select c.relname as name, i.inhparent is not null as attached, coalesce(i.inhdetachpending, false) as pending
    from pg_class c left join pg_inherits i on i.inhrelid = c.oid
    where c.relnamespace = 'kernel'::regnamespace and c.relkind = 'r' and c.relname ~ '^event_log_[0-9]{8}$'
    order by c.relname"""
_LAST_BEFORE = """
    select coalesce(
        (select min(first_position) - 1 from kernel.event_days where begin_time >= %(end)s),
        (select position from kernel.event_log order by position desc limit 1),
        (select dropped from kernel.event_retention))"""
_SLOWEST = "select min(position) from kernel.cursors"
_FORGET = "update kernel.event_retention set dropped = greatest(dropped, %s)"
_FORGET_DAYS = "delete from kernel.event_days where begin_time < %s"

_log = structlog.get_logger("plinth.partitions")

Connect = Callable[[], psycopg.Connection[Any]]


@dataclass(frozen=True, slots=True)
class _Day:
    """One day's table, and whether it belongs to the log, or is half out of it."""

    name: str
    attached: bool
    pending: bool

    @property
    def end(self) -> datetime:
        """When the next day begins."""
        return datetime.strptime(self.name, _NAME).replace(tzinfo=UTC) + DAY


def begin_of_day(moment: datetime) -> datetime:
    """Midnight before it, in UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


class Partitions:
    """Keeps the days of the log, for as many days back and ahead.

    A day that some subscriber has not read stays for up to twice the retention: an event waits for who is late, but
    not for who never comes.
    """

    def __init__(self, connect: Connect, clock: Clock, *, retention: timedelta, ahead: timedelta = 3 * DAY) -> None:
        self._connect = connect
        self._clock = clock
        self._retention = retention
        self._ahead = ahead
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plinth-partitions", daemon=True)

    def start(self) -> None:
        """Look after them once an hour, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def ensure(self, moment: datetime) -> None:
        """Make the day of a moment, and those ahead of it, where they are missing. Raises psycopg.Error."""
        begin = begin_of_day(moment)
        wanted = [begin + number * DAY for number in range(self._ahead // DAY + 1)]
        with self._maintaining() as connection:
            if not _missing(connection, wanted):
                return
            with connection.transaction():
                connection.execute("select pg_advisory_xact_lock(%s)", [_MAKE_LOCK])
                for day in _missing(connection, wanted):
                    _make(connection, day)

    def drop_expired(self) -> list[str]:
        """Drop the days past retention that nobody waits for; their tables' names. Raises psycopg.Error."""
        now = self._clock.now()
        dropped: list[str] = []
        with self._maintaining() as connection:
            (alone,) = connection.execute("select pg_try_advisory_lock(%s)", [_DROP_LOCK]).fetchone() or (False,)
            for day in _days(connection) if alone else []:
                if day.end > now - self._retention:
                    break
                if not _forget(connection, day, even_unread=day.end <= now - 2 * self._retention):
                    _log.warning("partitions.unread", name=day.name)
                    break
                _drop(connection, day)
                dropped.append(day.name)
        return dropped

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                self.ensure(self._clock.now())
                if dropped := self.drop_expired():
                    _log.info("partitions.dropped", names=dropped)
                wait = _CHECK_SECONDS
            except psycopg.Error as error:
                _log.warning("partitions.failed", error=type(error).__name__, retry_seconds=_RETRY_SECONDS)
                wait = _RETRY_SECONDS

    @contextmanager
    def _maintaining(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection under the role that may."""
        with self._connect() as connection:
            connection.execute("set role plinth_maintenance")
            connection.execute("set lock_timeout = '10s'")
            yield connection


def _days(connection: psycopg.Connection[Any]) -> list[_Day]:
    with connection.cursor(row_factory=class_row(_Day)) as cursor:
        return cursor.execute(_DAYS).fetchall()


def _missing(connection: psycopg.Connection[Any], wanted: list[datetime]) -> list[datetime]:
    there = {day.name for day in _days(connection) if day.attached}
    return [day for day in wanted if day.strftime(_NAME) not in there]


def _make(connection: psycopg.Connection[Any], day: datetime) -> None:
    table = sql.Identifier("kernel", day.strftime(_NAME))
    connection.execute(sql.SQL("create table {} (like kernel.event_log including all)").format(table))
    connection.execute(sql.SQL("alter table {} enable row level security").format(table))
    connection.execute(sql.SQL("alter table {} force row level security").format(table))
    connection.execute(
        sql.SQL("alter table kernel.event_log attach partition {} for values from ({}) to ({})").format(
            table, sql.Literal(day), sql.Literal(day + DAY)
        )
    )


def _forget(connection: psycopg.Connection[Any], day: _Day, *, even_unread: bool) -> bool:
    """Count the day's events as dropped, before they are: whoever still asks for them is told. False: not yet."""
    if not day.attached:
        return True
    with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
        last = cursor.execute(_LAST_BEFORE, {"end": day.end}).fetchone() or 0
        slowest = cursor.execute(_SLOWEST).fetchone()
        if slowest is not None and slowest < last and not even_unread:
            return False
        cursor.execute(_FORGET, [last])
        cursor.execute(_FORGET_DAYS, [day.end])
    return True


def _drop(connection: psycopg.Connection[Any], day: _Day) -> None:
    table = sql.Identifier("kernel", day.name)
    if day.attached:
        how = sql.SQL("finalize" if day.pending else "concurrently")
        connection.execute(sql.SQL("alter table kernel.event_log detach partition {} {}").format(table, how))
    connection.execute(sql.SQL("drop table {}").format(table))
