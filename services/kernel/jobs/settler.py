"""Says in the database how attempts ended: many in one statement, while the pump claims what is next."""

import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum

import psycopg
import structlog

from services.kernel.clock import Clock
from services.kernel.db import Database, Session
from services.kernel.errors import ConcurrentUpdate, PlinthError
from services.kernel.jobs import claims, gate
from services.kernel.jobs.gate import SYSTEM
from services.kernel.jobs.hands import Hands
from services.kernel.jobs.model import JobState
from services.kernel.jobs.run import Ran

RETRY_SECONDS = 0.5
# How long locked rows are gone round after one was met.
CAREFUL_SECONDS = 10.0
# While there is more to do, what has been done may wait for company.
_COMPANY_SECONDS = 0.004

_log = structlog.get_logger("plinth.jobs")


class _Locked(Enum):
    LOCKED = "locked"
    """Somebody has the row of the job locked, so that its attempt could not be settled yet."""


class Settler:
    """A thread that settles what the hands have done, and tells `settled` what became of each job.

    None stands for a job that is another's by now: the fence was old.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        hands: Hands,
        settled: Callable[[list[tuple[Ran, JobState | None]]], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._hands = hands
        self._settled = settled
        self._unsettled: list[Ran] = []
        self._careful_until = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plinth-jobs-settler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Settle what there is, and end."""
        self._stopping.set()
        self._hands.ended.set()
        self._thread.join(timeout)

    def behind(self) -> int:
        """How many attempts have ended that are not settled."""
        return len(self._unsettled) + self._hands.unsettled()

    def _run(self) -> None:
        while not self._stopping.is_set() or self.behind():
            self._hands.ended.wait()
            self._hands.ended.clear()
            try:
                self._round()
            except ConcurrentUpdate:
                self._careful_until = time.monotonic() + CAREFUL_SECONDS
                self._hands.ended.set()
            except (PlinthError, psycopg.Error) as error:
                _log.warning("jobs.not_settled", error=error, attempts=self.behind())
                self._hands.ended.set()
                time.sleep(RETRY_SECONDS)
            if self._hands.waiting():
                time.sleep(_COMPANY_SECONDS)

    def _round(self) -> None:
        self._unsettled += self._hands.take_ended()
        if not self._unsettled:
            return
        with self._database.transaction(SYSTEM) as session:
            gate.prepare(session)
            states = self._settle(session, careful=time.monotonic() < self._careful_until)
            session.commit()
        told: list[tuple[Ran, JobState | None]] = []
        locked: list[Ran] = []
        for ran, state in zip(self._unsettled, states, strict=True):
            if isinstance(state, _Locked):
                locked.append(ran)
            else:
                told.append((ran, state))
        self._unsettled = locked
        self._settled(told)
        if locked:
            self._hands.ended.set()
            time.sleep(RETRY_SECONDS)

    def _settle(self, session: Session, *, careful: bool) -> Sequence[JobState | _Locked | None]:
        states: list[JobState | _Locked | None] = [None] * len(self._unsettled)
        given = [(place, ran.settlement) for place, ran in enumerate(self._unsettled) if ran.settlement is not None]
        settlements = [settlement for _, settlement in given]
        settled = claims.settle(session, settlements, now=self._clock.now(), careful=careful)
        for (place, _), state in zip(given, settled, strict=True):
            states[place] = state
        missing = [(place, settlement.lease) for place, settlement in given if states[place] is None]
        if missing:
            still = claims.held(session, [lease for _, lease in missing])
            for (place, _), holds in zip(missing, still, strict=True):
                states[place] = None if holds is None else _Locked.LOCKED
        return states
