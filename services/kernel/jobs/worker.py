"""The worker: claims jobs in batches, has its threads run them, and renews their leases.

One thread, the pump, claims round by round, while another, the settler, says how attempts ended. So the slower the
database, the more jobs share a statement.
"""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import structlog
from opentelemetry.trace import TracerProvider

from services.kernel.clock import Clock, SystemClock
from services.kernel.db import Database, Session
from services.kernel.errors import ConcurrentUpdate, PlinthError
from services.kernel.jobs import claims, gate, sleep
from services.kernel.jobs.attempt import Attempt, Hold, JobHandler
from services.kernel.jobs.gate import LONG_AGO, SYSTEM, Limits, Marks
from services.kernel.jobs.hands import Hands
from services.kernel.jobs.model import JobState, Settlement
from services.kernel.jobs.queues import Queue, limits_of
from services.kernel.jobs.report import Report
from services.kernel.jobs.repository import CANCEL_CHANNEL, WAKE_CHANNEL
from services.kernel.jobs.run import Ran
from services.kernel.jobs.settler import CAREFUL_SECONDS, RETRY_SECONDS, Settler
from services.kernel.telemetry import LineWriter

_LEASE = timedelta(seconds=30)
_DRAIN = timedelta(seconds=10)
# Jobs are claimed ahead of the threads only as far as the threads have just been this fast.
_AHEAD_SECONDS = 0.1
_PASS_SECONDS = 0.02
# Claims in a row that found work, until those who enqueue need not notify any more.
_AWAKE_AFTER = 3
_LISTEN_SECONDS = 0.5

_log = structlog.get_logger("plinth.jobs")


@dataclass(frozen=True, slots=True)
class _Claimed:
    """What one claim brought; the marks hold once it is committed."""

    attempts: list[Attempt]
    marks: Marks
    pass_at: float
    more: bool


class Worker:
    """Runs the jobs of its handlers' queues; as many workers as one likes may share them.

    `threads` handlers run at once; `batch` jobs are claimed at most in one round. A job whose worker is not heard of
    for `lease` is another's. What runs at a stop may go on for `drain`, and is then given back.
    """

    def __init__(
        self,
        database: Database,
        handlers: Iterable[JobHandler],
        *,
        clock: Clock | None = None,
        queues: Collection[str] | None = None,
        threads: int = 8,
        batch: int = 200,
        lease: timedelta = _LEASE,
        drain: timedelta = _DRAIN,
        writer: LineWriter | None = None,
        provider: TracerProvider | None = None,
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._handlers = {handler.kind: handler for handler in handlers}
        self._timeouts = {kind: handler.timeout.total_seconds() for kind, handler in self._handlers.items()}
        self._queues = {
            name: Queue(name, limits)
            for name, limits in limits_of(self._handlers.values()).items()
            if queues is None or name in queues
        }
        self._limited = {queue.name for queue in self._queues.values() if queue.limits != Limits()}
        self._threads, self._batch, self._lease, self._drain_seconds = threads, batch, lease, drain.total_seconds()
        self._name = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        tracer = provider.get_tracer("plinth") if provider is not None else None
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._hands = Hands(threads, self._handlers, self._clock, tracer, self._wake)
        self._settler = Settler(database, self._clock, self._hands, self._settled)
        self._in_hand: set[Attempt] = set()
        self.report = Report(writer, lambda: len(self._in_hand))
        self._claimed = 0
        self._ahead = 0
        self._pace: deque[tuple[float, int]] = deque()
        self._careful_until = 0.0
        self._turn = 0
        self._beat_seconds = lease.total_seconds() / 3
        self._beat_at = time.monotonic() + self._beat_seconds
        self._beat_now = threading.Event()
        self._expire_at = 0.0
        self._expired = LONG_AGO
        self._heard: set[str] = set()
        self._draining = threading.Event()
        self._drain_until = float("inf")
        self._ended = threading.Event()
        self._pump = threading.Thread(target=self._run, name="plinth-jobs", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="plinth-jobs-wake", daemon=True)

    @property
    def queues(self) -> list[str]:
        """The queues that it serves."""
        return list(self._queues)

    def start(self) -> None:
        """Begin, on threads of its own."""
        self._hands.start()
        self._settler.start()
        self._listener.start()
        self._pump.start()

    def stop(self) -> None:
        """Claim no more, let run what runs for as long as it may, give back the rest, and end."""
        self._drain_until = time.monotonic() + self._drain_seconds
        self._draining.set()
        self._wake.set()
        self._pump.join(self._drain_seconds + self._lease.total_seconds())
        self._listener.join(2 * _LISTEN_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.clear()
            try:
                pause = self._round()
            except ConcurrentUpdate:
                # Somebody has locked a row, or a queue: for a while, go round the former.
                self._careful_until = time.monotonic() + CAREFUL_SECONDS
                pause = 0.0
            except (PlinthError, psycopg.Error) as error:
                _log.warning("jobs.round_failed", error=error)
                pause = RETRY_SECONDS
            if pause > 0:
                self._wake.wait(pause)
        self._hands.stop()

    def _round(self) -> float:
        """Do what there is to do; how long to wait for more, in seconds."""
        now = time.monotonic()
        self._hear()
        if now >= self._beat_at or self._beat_now.is_set():
            self._beat()
        if self._draining.is_set():
            return self._drain()
        if now >= self._expire_at:
            self._take_back_expired()
        self._claim_next()
        self._look()
        if self._claimable() is not None:
            return 0.0
        timers = (self._beat_at, self._expire_at, *(queue.look_at for queue in self._queues.values() if not queue.hot))
        return max(0.0, min(timers) - time.monotonic())

    def _hear(self) -> None:
        while self._heard:
            queue = self._queues.get(self._heard.pop())
            if queue is not None:
                queue.wake()

    # Claims

    def _claimable(self) -> Queue | None:
        hot = [queue for queue in self._queues.values() if queue.hot]
        hungry = self._hands.waiting() <= self._hands.low and self._room() > 0
        return hot[self._turn % len(hot)] if hot and hungry else None

    def _room(self) -> int:
        return self._threads + self._ahead - self._hands.under_way()

    def _claim_next(self) -> None:
        """Claim from the next queue where there may be something, as much as the threads are fast."""
        began = time.monotonic()
        self._pace.append((began, self._claimed - self._hands.under_way()))
        while self._pace[0][0] < began - _AHEAD_SECONDS:
            self._pace.popleft()
        self._ahead = min(2 * self._batch, self._pace[-1][1] - self._pace[0][1])
        self._hands.low = self._ahead // 2
        queue = self._claimable()
        if queue is None:
            return
        self._turn += 1
        with self._database.transaction(SYSTEM) as session:
            claimed = self._claim(session, queue, began)
            session.commit()
        queue.marks, queue.pass_at = claimed.marks, claimed.pass_at
        queue.found(time.monotonic(), len(claimed.attempts), more=claimed.more)
        self._claimed += len(claimed.attempts)
        for attempt in claimed.attempts:
            self._in_hand.add(attempt)
            self._hands.give(attempt)

    def _claim(self, session: Session, queue: Queue, began: float) -> _Claimed:
        now, count, careful = self._clock.now(), min(self._batch, self._room()), began < self._careful_until
        until = began + self._lease.total_seconds()
        deadlines = {kind: began + seconds for kind, seconds in self._timeouts.items()}

        def hold(kind: str) -> Hold:
            return Hold(until, deadlines.get(kind, until), self._changed)

        gate.lock(session, queue.name)
        if queue.row_until > began and queue.streak >= _AWAKE_AFTER:
            sleep.get_up(session, [queue.name], self._name)
            queue.row_until = 0.0
        marks, more_come = queue.marks, False
        passes = queue.pass_at <= began
        if passes:
            marks, more_come = gate.pass_arrivals(session, queue.name, marks, queue.limits, now=now, careful=careful)
        attempts, marks = claims.take(
            session,
            queue.name,
            marks,
            queue.limits,
            hold,
            count=count,
            worker=self._name,
            now=now,
            lease_time=now + self._lease,
            careful=careful,
        )
        full = len(attempts) == count
        # While each claim finds as much as it wants, who has just arrived waits for a few of them.
        pass_at = queue.pass_at if full and not passes else began + (_PASS_SECONDS if full and not more_come else 0.0)
        return _Claimed(attempts, marks, pass_at, more=full or more_come or not passes)

    def _settled(self, told: list[tuple[Ran, JobState | None]]) -> None:
        """Attempts are settled; called on the settler's thread."""
        for ran, _ in told:
            self._in_hand.discard(ran.attempt)
        self.report.ended(told)
        limited = self._limited.intersection(ran.attempt.queue for ran, _ in told)
        if limited:
            # Who has ended has made room.
            self._heard.update(limited)
        if limited or self._draining.is_set():
            self._wake.set()

    # Leases

    def _beat(self) -> None:
        """Renew the leases of what is in hand, and hear who wants what cancelled."""
        began = time.monotonic()
        self._beat_now.clear()
        self._beat_at = began + self._beat_seconds
        attempts = [attempt for attempt in list(self._in_hand) if attempt.hold.deadline > began]
        if not attempts:
            return
        with self._database.transaction(SYSTEM) as session:
            gate.prepare(session)
            held = claims.renew(session, [one.lease for one in attempts], self._clock.now() + self._lease)
            session.commit()
        with self._changed:
            for attempt, cancelled in zip(attempts, held, strict=True):
                attempt.hold.lost = cancelled is None
                attempt.hold.cancelled = bool(cancelled)
                if cancelled is not None:
                    attempt.hold.until = began + self._lease.total_seconds()
            self._changed.notify_all()

    def _take_back_expired(self) -> None:
        now = self._clock.now()
        with self._database.transaction(SYSTEM) as session:
            gate.prepare(session)
            expired, after = claims.expire(session, self.queues, after=self._expired, now=now)
            session.commit()
        self._expired = after
        self._expire_at = time.monotonic() + min(self._beat_seconds, sleep.LONGEST_PAUSE)
        for one in expired:
            _log.warning("jobs.lease_expired", queue=one.queue, kind=one.kind, state=one.state)
            self._queues[one.queue].wake()

    # Sleep

    def _look(self) -> None:
        """Look at the queues where nothing was, when their time has come."""
        began = time.monotonic()
        cold = [queue for queue in self._queues.values() if not queue.hot]
        if all(queue.look_at > began for queue in cold):
            return
        # Whose time comes soon comes along, so that all queues at rest cost one look.
        due = [queue for queue in cold if queue.look_at <= began + sleep.LONGEST_PAUSE / 2]
        drowsy = [
            queue for queue in due if queue.pause >= sleep.ASLEEP_FROM and queue.row_until < began + queue.pause + 1
        ]
        if drowsy:
            with self._database.transaction(SYSTEM) as session:
                sleep.sweep(session)
                sleep.go_to_sleep(session, [queue.name for queue in drowsy], self._name)
                session.commit()
            for queue in drowsy:
                queue.row_until = began + sleep.ROW_SECONDS
        now = self._clock.now()
        with self._database.transaction(SYSTEM) as session:
            gate.prepare(session)
            looks = sleep.look(session, {queue.name: queue.marks for queue in due}, now=now)
        for seen in looks:
            queue = self._queues[seen.queue]
            queue.hot = seen.has_work or (seen.next_due is not None and seen.next_due <= now)
            queue.pause = min(2 * queue.pause, sleep.LONGEST_PAUSE) if not queue.hot else queue.pause
            queue.look_at = began + queue.pause
            if seen.next_due is not None:
                queue.look_at = min(queue.look_at, began + max(0.0, (seen.next_due - now).total_seconds()))
            if seen.next_expiry is not None:
                self._expire_at = min(self._expire_at, began + max(0.0, (seen.next_expiry - now).total_seconds()))

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                with self._database.connect() as connection:
                    connection.execute(f"listen {WAKE_CHANNEL}")
                    connection.execute(f"listen {CANCEL_CHANNEL}")
                    # Whatever was said before is to be found out.
                    self._heard.update(self._queues)
                    self._beat_now.set()
                    self._wake.set()
                    while not self._ended.is_set():
                        for notify in connection.notifies(timeout=_LISTEN_SECONDS):
                            self._notified(notify)
            except psycopg.Error as error:
                _log.warning("jobs.listen_failed", error=type(error).__name__)
                self._ended.wait(RETRY_SECONDS)

    def _notified(self, notify: psycopg.Notify) -> None:
        if notify.channel == WAKE_CHANNEL and notify.payload in self._queues:
            self._heard.add(notify.payload)
            self._wake.set()
        elif notify.channel == CANCEL_CHANNEL and any(
            str(attempt.job_id) == notify.payload for attempt in list(self._in_hand)
        ):
            self._beat_now.set()
            self._wake.set()

    # The end

    def _drain(self) -> float:
        """A round of the end: nothing is claimed; what runs may end; what does not in time is given back."""
        self._give_back(self._hands.take_back())
        late = time.monotonic() >= self._drain_until
        if late:
            self._give_back(self._hands.running())
        if late or not self._in_hand:
            self._settler.stop(self._lease.total_seconds())
            with self._database.transaction(SYSTEM) as session:
                sleep.get_up(session, self.queues, self._name)
                session.commit()
            self._ended.set()
            return 0.0
        return max(0.0, min(self._drain_until, self._beat_at) - time.monotonic())

    def _give_back(self, attempts: Sequence[Attempt]) -> None:
        """Let another worker have them at once; they have not been attempted."""
        if not attempts:
            return
        with self._database.transaction(SYSTEM) as session:
            gate.prepare(session)
            back = [Settlement(one.lease, JobState.ARRIVED, counted=False) for one in attempts]
            claims.settle(session, back, now=self._clock.now(), careful=True)
            session.commit()
        with self._changed:
            for attempt in attempts:
                attempt.hold.lost = True
                self._in_hand.discard(attempt)
            self._changed.notify_all()
