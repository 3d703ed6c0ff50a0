"""Durable subscriptions: each event's effect and the subscriber's cursor are one commit, so a crash repeats nothing.

One consumer a subscriber is active over all processes: the elected one. What makes it safe is the cursor itself, which
moves only from where this consumer left it. Effects outside of the database belong into a job that the handler
enqueues.
"""

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, islice
from typing import Any, Generic, TypeVar

import psycopg
import structlog

from services.kernel import cursors, election
from services.kernel.caller import Caller, reset_caller, set_caller
from services.kernel.clock import Clock
from services.kernel.cursors import CursorMoved
from services.kernel.db import Database, Scope, Session
from services.kernel.errors import ConcurrentUpdate, DependencyUnavailable, Overloaded, PlinthError, ShuttingDown
from services.kernel.event_log import EventSource, LogTail
from services.kernel.events import Event
from services.kernel.inbox import Inbox
from services.kernel.jobs import Backoff
from services.kernel.jobs.run import said
from services.kernel.unit_of_work import UnitOfWork, Units

R = TypeVar("R")

_log = structlog.get_logger("plinth.subscriptions")

# An office with a seat for each subscriber: `SUBS` and a hash of the name.
_OFFICE = 0x53554253
_ELECT_SECONDS = 4.0
_SLICE_SECONDS = 0.25
_RETRY_SECONDS = 0.25
# A cursor that moves past events of other types is saved so often, or with the next effect.
_SAVE_SECONDS = 1.0
_READ_AT_ONCE = 1000
_EVENTS_A_COMMIT = 100
_ATTEMPTS = 5
_BACKOFF = Backoff(timedelta(seconds=0.5))
# Of the database's state, not of the event's: waited out, however long it takes.
TRANSIENT = (ConcurrentUpdate, CursorMoved, DependencyUnavailable, Overloaded, ShuttingDown)


@dataclass(frozen=True, slots=True)
class Subscription(Generic[R]):
    """What a domain does about events of the types named (none named: of all), each at least once and in order.

    `name` is `<domain>.<word>` and never changes: the cursor is kept under it. A new one begins at the oldest event
    kept. `handle` runs in a unit of work of `units`, in the session of the event's own workspace (the domain's system
    session where it has none), and does not commit: its effect and the cursor do together.
    """

    name: str
    types: frozenset[str]
    handle: Callable[[UnitOfWork[R], Event], None]
    units: Units[R]

    @property
    def domain(self) -> str:
        """The domain that it belongs to."""
        return self.name.partition(".")[0]


# What becomes of one event, in a unit of work of its subscriber's.
Effect = Callable[[UnitOfWork[Any], Event], None]
# Makes one commit of the effect of each event, on behalf of the subscriber.
Commit = Callable[[Sequence[Event], Effect], None]
# Waits so many seconds before the next attempt; raises where there is no time for one.
Pause = Callable[[float], None]
# Keeps an event whose handler keeps failing, with its last error, in the commit that goes past it.
Park = Callable[[UnitOfWork[Any], Subscription[Any], Event, str], None]


def hand_over(
    subscription: Subscription[Any], events: Sequence[Event], *, commit: Commit, pause: Pause, park: Park
) -> int:
    """Have events of one session handled in one commit, or where that fails each in its own; how many were.

    One that fails too often is parked. Raises what is TRANSIENT, and what `pause` raises.
    """
    if len(events) > 1:
        try:
            commit(events, subscription.handle)
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001  # any of them may be to blame: the next attempts tell which
            kind = type(error).__name__
            _log.info("subscription.split", subscriber=subscription.name, events=len(events), error=kind)
        else:
            return len(events)
    return sum(_hand_over_one(subscription, event, commit, pause, park) for event in events)


def _hand_over_one(subscription: Subscription[Any], event: Event, commit: Commit, pause: Pause, park: Park) -> bool:
    log, failure = _log.bind(subscriber=subscription.name, position=event.position), ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            pause(_BACKOFF.delay(attempt).total_seconds())
        try:
            commit([event], subscription.handle)
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one event must not hold up the others
            # Who may see jobs may not see what a restricted event holds, which an error may quote.
            failure = type(error).__name__ if event.restricted else said(error)
            # What it says may be somebody's data: that is for those who may see the parked event.
            log.warning("subscription.failed", attempt=attempt + 1, error=type(error).__name__)
        else:
            return True
    commit([event], lambda uow, event: park(uow, subscription, event, failure))
    log.error("subscription.parked", event_id=str(event.id))
    return False


class Runner:
    """Runs the subscriptions of a process: of each, where no other process does."""

    def __init__(
        self,
        subscriptions: Sequence[Subscription[Any]],
        *,
        source: EventSource,
        tail: LogTail,
        database: Database,
        connect: Callable[[], psycopg.Connection[Any]],
        clock: Clock,
        park: Park,
    ) -> None:
        self._connect = connect
        self._stopping = threading.Event()
        self._consumers = {
            subscription.name: _Consumer(subscription, source, tail, database, clock, park, self._stopping)
            for subscription in subscriptions
        }
        self._electing = threading.Thread(target=self._elect, name="plinth-subscriptions", daemon=True)

    def start(self) -> None:
        """Begin, on threads of their own. The tail is started by whoever made it."""
        self._electing.start()
        for consumer in self._consumers.values():
            consumer.thread.start()

    def stop(self) -> None:
        """Finish the commits at hand, and end; another process takes over at once."""
        self._stopping.set()
        for consumer in self._consumers.values():
            consumer.thread.join()
        self._electing.join()

    def leading(self) -> frozenset[str]:
        """The subscriptions that this process consumes now."""
        return frozenset(name for name, consumer in self._consumers.items() if consumer.leads.is_set())

    def _elect(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    self._hold(connection)
            except psycopg.Error as error:
                _log.warning("subscriptions.lost", error=type(error).__name__, retry_seconds=_RETRY_SECONDS)
                self._stopping.wait(_RETRY_SECONDS)
            finally:
                for consumer in self._consumers.values():
                    consumer.leads.clear()

    def _hold(self, connection: psycopg.Connection[Any]) -> None:
        """Take what locks are free, and keep them for as long as the connection lasts."""
        while not self._stopping.is_set():
            seats = {_seat(name): name for name, consumer in self._consumers.items() if not consumer.leads.is_set()}
            for seat in election.stand(connection, _OFFICE, list(seats)):
                self._consumers[seats[seat]].leads.set()
                _log.info("subscription.taken", subscriber=seats[seat])
            looked = time.monotonic()
            while not self._stopping.is_set() and time.monotonic() - looked < _ELECT_SECONDS:
                # Hears nothing, and costs no query; but raises as soon as the connection breaks.
                for _ in connection.notifies(timeout=_SLICE_SECONDS):
                    pass


def _seat(name: str) -> int:
    return zlib.crc32(name.encode()) - 2**31


class _Consumer:
    """One subscription in one process."""

    def __init__(
        self,
        subscription: Subscription[Any],
        source: EventSource,
        tail: LogTail,
        database: Database,
        clock: Clock,
        park: Park,
        stopping: threading.Event,
    ) -> None:
        self._subscription = subscription
        self._source = source
        self._tail = tail
        self._database = database
        self._clock = clock
        self._park = park
        self._stopping = stopping
        self._log = _log.bind(subscriber=subscription.name)
        # As it is saved.
        self._cursor = 0
        self.leads = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"plinth-{subscription.name}", daemon=True)

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self.leads.wait(_SLICE_SECONDS):
                continue
            try:
                self._consume()
            except CursorMoved:
                self._log.info("subscription.overtaken")
            except PlinthError as error:
                self._log.warning("subscription.paused", reason=error.reason)
                self._stopping.wait(_RETRY_SECONDS)
            except Exception:  # noqa: BLE001  # an event that can be neither handled nor parked is tried for ever
                self._log.exception("subscription.stuck", cursor=self._cursor)
                self._stopping.wait(_RETRY_SECONDS)

    def _consume(self) -> None:
        """Until another takes over. Raises CursorExpired, CursorMoved, and what the database raises."""
        inbox = Inbox(self._source, self._tail, self._subscription.types)
        try:
            self._begin()
            reached, saved_at = self._cursor, time.monotonic()
            while self.leads.is_set() and not self._stopping.is_set():
                passage = inbox.take(reached, _READ_AT_ONCE, _SLICE_SECONDS)
                for events in _in_one_session(passage.events):
                    self._handle(events)
                reached = passage.upto
                if reached > self._cursor and time.monotonic() - saved_at >= _SAVE_SECONDS:
                    self._save(reached)
                    saved_at = time.monotonic()
        finally:
            inbox.close()

    def _begin(self) -> None:
        now = self._clock.now()
        oldest = self._source.oldest()
        with self._system() as session:
            self._cursor = cursors.begin(session, self._subscription.name, max(oldest - 1, 0), now)
            if self._cursor < oldest - 1:
                self._log.error("subscription.expired", cursor=self._cursor, oldest=oldest)
                cursors.move(session, self._subscription.name, self._cursor, oldest - 1, now)
                self._cursor = oldest - 1
            session.commit()

    def _save(self, position: int) -> None:
        with self._system() as session:
            cursors.move(session, self._subscription.name, self._cursor, position, self._clock.now())
            session.commit()
        self._cursor = position

    def _handle(self, events: list[Event]) -> None:
        hand_over(self._subscription, events, commit=self._commit, pause=self._pause, park=self._park)

    def _commit(self, events: Sequence[Event], effect: Effect) -> None:
        units, last = self._subscription.units, events[-1]
        with units(last.workspace_id) if last.workspace_id is not None else units.system() as uow:
            for event in events:
                with on_behalf(self._subscription.domain, event):
                    effect(uow, event)
            cursors.move(uow.session, self._subscription.name, self._cursor, last.position, self._clock.now())
            uow.commit()
        self._cursor = last.position

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds) or not self.leads.is_set():
            raise ShuttingDown

    def _system(self) -> AbstractContextManager[Session]:
        return self._database.transaction(Scope("plinth_kernel"))


def _in_one_session(events: list[Event]) -> Iterator[list[Event]]:
    """The events in their order, in lists of one workspace each that fit into one commit."""
    for _, run in groupby(events, key=lambda event: event.workspace_id):
        while chunk := list(islice(run, _EVENTS_A_COMMIT)):
            yield chunk


@contextmanager
def on_behalf(domain: str, event: Event) -> Iterator[None]:
    """What the handler emits is the domain's own doing, in the event's workspace and trace."""
    _, _, rest = event.traceparent.partition("-")
    token = set_caller(
        Caller(
            service=domain,
            workspace_id=event.workspace_id,
            trace_id=rest.partition("-")[0],
            traceparent=event.traceparent,
        )
    )
    try:
        yield
    finally:
        reset_caller(token)
