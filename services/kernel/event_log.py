"""The event log as its readers see it: a port, PostgreSQL behind it, and one thread that follows its head.

Positions are gapless and only grow; events of one subject stand in the order of their commits. Another transport joins
as another `EventSource`: no reader can tell.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import bindparam, func, select

from services.kernel import tables
from services.kernel.db import Database, Scope, Session, Statement, compiled
from services.kernel.errors import CursorExpired, DependencyUnavailable, PlinthError
from services.kernel.events import Event

# The sequencer notifies it of the log's new head, once a batch.
CHANNEL = "plinth_log"

_log = structlog.get_logger("plinth.event_log")

_t = tables.event_log
_days = tables.event_days
_EPOCH = datetime.fromtimestamp(0, UTC)
# A new day is noticed this much later: until then, the reading of the one before costs a little more.
_DAYS_SECONDS = 60.0
_LATEST = 2**63 - 1


def _read(*, of_workspace: bool) -> Statement:
    # The time prunes days at planning; by position alone, every day's index would be opened.
    statement = select(*(c for c in _t.columns if c.name != "log_time")).where(
        _t.c.position > bindparam("after"), _t.c.log_time >= bindparam("begin")
    )
    if of_workspace:
        statement = statement.where(_t.c.workspace_id == bindparam("workspace_id"))
    return compiled(statement.order_by(_t.c.position).limit(bindparam("limit")))


_READ, _READ_OF_WORKSPACE = _read(of_workspace=False), _read(of_workspace=True)
_LAST = (
    select(_t.c.position)
    .where(_t.c.log_time >= bindparam("begin"))
    .order_by(_t.c.position.desc())
    .limit(1)
    .scalar_subquery()
)
_HEAD = compiled(select(func.coalesce(_LAST, tables.event_retention.c.dropped).label("position")))
_DROPPED = compiled(select(tables.event_retention.c.dropped.label("position")))
_DAYS = compiled(select(_days.c.begin_time, _days.c.first_position).order_by(_days.c.begin_time.desc()))


@dataclass(frozen=True, slots=True)
class _Day:
    begin_time: datetime
    first_position: int


class EventSource(Protocol):
    """Where subscribers and streams read events."""

    def read(self, after: int, limit: int, *, workspace_id: UUID | None = None) -> list[Event]:
        """The next events after a position, in order: all, or those of one workspace.

        Raises CursorExpired where events after that position are no longer kept.
        """
        ...

    def head(self) -> int:
        """The last position given; 0 before the first."""
        ...

    def oldest(self) -> int:
        """The oldest position that is still kept; 0 while all are."""
        ...

    def wait(self, after: int, timeout: float) -> bool:
        """Wait up to so many seconds for an event after a position; whether there is one."""
        ...


class PostgresEventLog:
    """The log in PostgreSQL: read by position, woken by NOTIFY. All of it raises DependencyUnavailable."""

    def __init__(self, database: Database, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._database = database
        self._connect = connect
        self._listening = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._heard = 0
        # The newest first.
        self._days: list[_Day] = []
        self._days_until = float("-inf")

    def read(self, after: int, limit: int, *, workspace_id: UUID | None = None) -> list[Event]:
        """The next events after a position; with a workspace, in a session that sees no other. Raises CursorExpired."""
        statement = _READ if workspace_id is None else _READ_OF_WORKSPACE
        with self._database.transaction(Scope("plinth_kernel", workspace_id)) as session:
            begin = self._begin_of(session, after + 1)
            events = session.all(statement, Event, after=after, begin=begin, limit=limit, workspace_id=workspace_id)
            # Asked after reading: what is dropped meanwhile is counted as dropped before it goes.
            gapless = bool(events) and events[0].position == after + 1
            if not gapless and after < _position(session, _DROPPED):
                raise CursorExpired
        return events

    def head(self) -> int:
        """The last position given; 0 before the first."""
        with self._session() as session:
            return _position(session, _HEAD, begin=self._begin_of(session, _LATEST))

    def oldest(self) -> int:
        """The oldest position that is still kept; 0 while all are."""
        with self._session() as session:
            dropped = _position(session, _DROPPED)
        return dropped + 1 if dropped else 0

    def wait(self, after: int, timeout: float) -> bool:
        """Wait up to so many seconds for an event after a position; whether there is one. Costs no query."""
        deadline = time.monotonic() + timeout
        with self._listening:
            try:
                connection = self._connection or self._listen()
                while self._heard <= after and (left := deadline - time.monotonic()) > 0:
                    for notify in connection.notifies(timeout=left, stop_after=1):
                        self._heard = max(self._heard, int(notify.payload))
            except psycopg.Error as error:
                self._hang_up()
                raise DependencyUnavailable("database") from error
            return self._heard > after

    def close(self) -> None:
        """End the connection that listens."""
        with self._listening:
            self._hang_up()

    def _listen(self) -> psycopg.Connection[Any]:
        connection = self._connect()
        try:
            connection.execute(f"listen {CHANNEL}")
            # What came before the ear was open.
            self._heard = self.head()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin_of(self, session: Session, position: int) -> datetime:
        """A moment that no event from this position on was logged before: the begin of its day, as far as is known."""
        now = time.monotonic()
        if now >= self._days_until or not self._days:
            self._days, self._days_until = session.all(_DAYS, _Day), now + _DAYS_SECONDS
        return next((day.begin_time for day in self._days if day.first_position <= position), _EPOCH)

    def _session(self) -> AbstractContextManager[Session]:
        return self._database.transaction(Scope("plinth_kernel"))


def _position(session: Session, statement: Statement, **params: object) -> int:
    return session.first(statement, _value, **params) or 0


def _value(position: int) -> int:
    return position


Listener = Callable[[list[Event]], None]


class LogTail:
    """One thread of a process that follows the head of the log and hands every new event to each listener.

    To read from a cursor and then live, without a gap: subscribe and keep what comes; read from the source up to
    `position`; then take what was kept, from after what was read.
    """

    # A stop is noticed after the shorter; a notice that was lost on the way is made up for after the longer.
    _SLICE_SECONDS = 0.25
    _LOOK_SECONDS = 20.0
    _RETRY_SECONDS = 0.25
    _AT_ONCE = 1000

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()
        self._position: int | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plinth-log-tail", daemon=True)

    @property
    def position(self) -> int | None:
        """Every event up to here was handed out; None before the first look."""
        return self._position

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each batch of new events, in order, on the tail's thread; answers how to stop."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return unsubscribe

    def start(self) -> None:
        """Begin to follow, from the head as it is then."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except CursorExpired:
                _log.error("tail.expired", position=self._position)
                self._position = None
            except PlinthError as error:
                _log.warning("tail.lost", reason=error.reason, retry_seconds=self._RETRY_SECONDS)
                self._stopping.wait(self._RETRY_SECONDS)
            except Exception:  # noqa: BLE001  # whatever it was, all subscribers and streams of the process hang on it
                _log.exception("tail.failed", retry_seconds=self._RETRY_SECONDS)
                self._stopping.wait(self._RETRY_SECONDS)

    def _follow(self) -> None:
        """Until it is told to stop. Raises what the source raises."""
        if self._position is None:
            self._position = self._source.head()
        while not self._stopping.is_set():
            self._catch_up()
            looked = time.monotonic()
            while not self._stopping.is_set() and time.monotonic() - looked < self._LOOK_SECONDS:
                if self._source.wait(self._position, self._SLICE_SECONDS):
                    break

    def _catch_up(self) -> None:
        assert self._position is not None  # noqa: S101  # for the type checker: `_follow` has set it
        while events := self._source.read(self._position, self._AT_ONCE):
            self._position = events[-1].position
            for listener in self._listeners:
                try:
                    listener(events)
                except Exception:  # noqa: BLE001  # one listener's failure must not keep events from the others
                    _log.exception("tail.listener_failed")
            if len(events) < self._AT_ONCE or self._stopping.is_set():
                return
