"""A queue of the test's own, and hands that do to its rows what a worker does."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from services.kernel.caller import Caller, current_caller
from services.kernel.clock import Clock, FrozenClock, SystemClock
from services.kernel.db import Database, Scope, Session
from services.kernel.ids import new_id
from services.kernel.jobs import (
    Attempt,
    Job,
    JobHandler,
    JobRepository,
    JobState,
    NewJob,
    Worker,
    claims,
    enqueue,
    gate,
)
from services.kernel.jobs.attempt import Hold
from services.kernel.jobs.gate import SYSTEM, Limits, Marks
from services.kernel.jobs.model import Settlement

LEASE = timedelta(seconds=30)


class Bench:
    """One queue, by hand. Each `Hand` is a worker's memory of it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.queue = f"queue-{new_id().hex[-12:]}"
        self._swept = gate.LONG_AGO

    def add(self, *jobs: NewJob, workspace_id: UUID | None = None) -> list[UUID]:
        """Enqueue and commit."""
        with self.database.transaction(SYSTEM) as session:
            ids = enqueue(session, jobs, workspace_id=workspace_id, caller=Caller(service="test"), now=self.clock.now())
            session.commit()
        return ids

    def new(self, kind: str = "test.job", **fields: object) -> NewJob:
        """A job of this queue."""
        return NewJob(self.queue, kind, **fields)  # type: ignore[arg-type]  # the test's own

    def get(self, job_id: UUID, workspace_id: UUID | None = None) -> Job | None:
        """The job as it is."""
        with self.database.transaction(SYSTEM) as session:
            return JobRepository(session).get(workspace_id, job_id)

    def settle(self, *settlements: Settlement, careful: bool = False) -> list[JobState | None]:
        """Say how attempts ended."""
        with self.database.transaction(SYSTEM) as session:
            gate.prepare(session)
            states = claims.settle(session, settlements, now=self.clock.now(), careful=careful)
            session.commit()
        return states

    def expire(self) -> list[claims.Expired]:
        """Take back what nobody holds any more, as one worker does it again and again."""
        with self.database.transaction(SYSTEM) as session:
            gate.prepare(session)
            expired, self._swept = claims.expire(session, [self.queue], after=self._swept, now=self.clock.now())
            session.commit()
        return expired

    def manage(self) -> "Managing":
        """A session that looks at jobs and changes them; `commit` it."""
        return Managing(self.database)


class Managing:
    """The repository in a transaction."""

    def __init__(self, database: Database, scope: Scope = SYSTEM) -> None:
        self._transaction = database.transaction(scope)

    def __enter__(self) -> JobRepository:
        self._session = self._transaction.__enter__()
        return JobRepository(self._session)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._session.commit()
        self._transaction.__exit__(kind, error, None)


class Hand:
    """What one worker remembers of the queue."""

    def __init__(self, bench: Bench, limits: Limits | None = None) -> None:
        self.bench = bench
        self.limits = limits or Limits()
        self.marks = Marks()

    def claim(self, count: int = 100, *, careful: bool = False) -> list[Attempt]:
        """A round of claims."""
        bench, now = self.bench, self.bench.clock.now()
        with bench.database.transaction(SYSTEM) as session:
            gate.lock(session, bench.queue)
            marks, _ = gate.pass_arrivals(session, bench.queue, self.marks, self.limits, now=now, careful=careful)
            attempts, marks = claims.take(
                session,
                bench.queue,
                marks,
                self.limits,
                lambda kind: Hold(0.0, 0.0, threading.Condition()),
                count=count,
                worker="hand",
                now=now,
                lease_time=now + LEASE,
                careful=careful,
            )
            session.commit()
        self.marks = marks
        return attempts

    def finish(self, attempts: Sequence[Attempt]) -> None:
        """They all succeed."""
        self.bench.settle(*(Settlement(one.lease, JobState.SUCCEEDED) for one in attempts))


@pytest.fixture
def bench(database: Database, clock: FrozenClock) -> Bench:
    """A queue of its own, where time stands still."""
    return Bench(database, clock)


Workers = Callable[..., Worker]


@pytest.fixture
def workers(database: Database) -> Iterator[Workers]:
    """Starts workers, and stops them when the test ends."""
    started: list[Worker] = []

    def make(*handlers: JobHandler, start: bool = True, **options: object) -> Worker:
        worker = Worker(database, handlers, **{"drain": timedelta(), **options})  # type: ignore[arg-type]  # the test's own
        started.append(worker)
        if start:
            worker.start()
        return worker

    yield make
    for worker in started:
        worker.stop()


@pytest.fixture
def live(database: Database) -> Bench:
    """A queue of the test's own, where time goes on."""
    return Bench(database, SystemClock())


class Seen:
    """What handlers were given."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.callers: list[Caller] = []

    def __call__(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self.callers.append(current_caller())


def outcomes(worker: Worker) -> Counter[str]:
    """How attempts ended, as Prometheus is told."""
    counted: Counter[str] = Counter()
    for metric in worker.report.collect():
        for sample in metric.samples:
            if sample.name == "plinth_job_attempts_total":
                counted[sample.labels["outcome"]] += int(sample.value)
    return counted


def lock_row(session: Session, wanted: UUID) -> None:
    """Keep the job's row until the session ends."""
    assert session.run(text("select 1 from jobs.jobs where id = :id for update"), id=wanted) == 1


def state_of(live: Bench, job: UUID) -> JobState | None:
    found = live.get(job)
    return found.state if found is not None else None
