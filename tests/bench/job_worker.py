"""Plinth's own queue, doing no-op jobs: run in a process of its own, on one core.

    python -m tests.bench.job_worker DATABASE_URL {drain|held|idle}

Prints its figures as JSON. `drain`: what a worker does in a second, warm, and what is enqueued in one; `held`: the
same before and after half a million rows have died while a transaction is held open; `idle`: queries a second of a
worker with nothing to do.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg

from services.kernel import db
from services.kernel.caller import Caller
from services.kernel.db import Database, Scope, Session
from services.kernel.ids import new_id
from services.kernel.jobs import Attempt, JobHandler, NewJob, Worker, enqueue, sleep
from services.kernel.telemetry import LineWriter
from services.scheduling import take_turns

QUEUE, KIND = "bench", "bench.noop"
JOBS = 40_000
DEAD_ROWS = 500_000
# The versions of a job's row: arrived, ready, running.
_DEAD_A_JOB = 3
_IDLE_SECONDS = 20.0
_SINGLE_SECONDS = 2.0
_SINGLE_THREADS = 8
_BATCH = 1000
_GIVE_UP_SECONDS = 120.0

_WORKSPACES = [new_id() for _ in range(10)]


class _Countdown:
    """A handler that counts."""

    def __init__(self) -> None:
        self._left = 0
        self._done = threading.Event()

    def start(self, jobs: int) -> None:
        self._left = jobs
        self._done.clear()

    def run(self, attempt: Attempt) -> None:
        self._left -= 1
        if self._left == 0:
            self._done.set()

    def wait(self) -> None:
        if not self._done.wait(_GIVE_UP_SECONDS):
            raise TimeoutError(f"{self._left} jobs were not done after {_GIVE_UP_SECONDS:g} s")


def fill(database: Database, jobs: int) -> float:
    """Enqueue so many for ten tenants, a thousand a commit; how many a second."""
    began = time.perf_counter()
    for number in range(jobs // _BATCH):
        _enqueue(database, _WORKSPACES[number % len(_WORKSPACES)], _BATCH)
    return jobs / (time.perf_counter() - began)


def singles(database: Database) -> float:
    """Commits with one job each that a few threads make in a second."""
    until = time.perf_counter() + _SINGLE_SECONDS

    def commits(workspace: int) -> int:
        count = 0
        while time.perf_counter() < until:
            _enqueue(database, _WORKSPACES[workspace], 1)
            count += 1
        return count

    with ThreadPoolExecutor(_SINGLE_THREADS) as pool:
        return sum(pool.map(commits, range(_SINGLE_THREADS))) / _SINGLE_SECONDS


def drain(database: Database, jobs: int) -> float:
    """Fill the queue and work until it is empty, with an access log; how many jobs a second."""
    fill(database, jobs)
    countdown = _Countdown()
    countdown.start(jobs)
    with open(os.devnull, "wb") as nowhere:
        writer = LineWriter(nowhere)
        worker = Worker(database, [JobHandler(KIND, QUEUE, countdown.run)], writer=writer)
        began = time.perf_counter()
        worker.start()
        countdown.wait()
        seconds = time.perf_counter() - began
        worker.stop()
        writer.close()
    return jobs / seconds


def idle(database: Database) -> float:
    """Queries a second of a worker of one queue that has nothing to do, once it sleeps."""
    asked: list[str] = []
    for owner, name in ((db, "_execute"), (Session, "run"), (Session, "all")):
        setattr(owner, name, _noted(asked, getattr(owner, name)))
    worker = Worker(database, [JobHandler(KIND, QUEUE, _Countdown().run)])
    worker.start()
    [queue] = worker._queues.values()
    waiting = threading.Event()
    while queue.pause < sleep.LONGEST_PAUSE:
        waiting.wait(0.2)
    asked.clear()
    waiting.wait(_IDLE_SECONDS)
    count = len(asked)
    worker.stop()
    return count / _IDLE_SECONDS


def _noted(asked: list[str], do: Callable[..., Any]) -> Callable[..., Any]:
    def noting(*arguments: Any, **named: Any) -> Any:
        asked.append(do.__name__)
        return do(*arguments, **named)

    return noting


def _enqueue(database: Database, workspace: Any, jobs: int) -> None:
    new = [NewJob(QUEUE, KIND, b"x" * 20) for _ in range(jobs)]
    with database.transaction(Scope("plinth_tenancy", workspace)) as session:
        enqueue(session, new, workspace_id=workspace, caller=Caller(), now=datetime.now(UTC))
        session.commit()


def main(url: str, what: str) -> None:
    """Measure and print."""
    take_turns()
    database = Database(url, pool_size=_SINGLE_THREADS)
    figures: dict[str, float] = {}
    if what == "drain":
        drain(database, JOBS // 4)
        figures["drained"] = drain(database, JOBS)
        figures["enqueued"] = fill(database, JOBS)
        figures["enqueued_single"] = singles(database)
    elif what == "held":
        drain(database, JOBS)
        figures["free"] = drain(database, JOBS)
        with psycopg.connect(url) as connection:
            connection.execute("set transaction isolation level repeatable read")
            connection.execute("set local transaction_timeout = 0")
            connection.execute("select 1")
            drain(database, DEAD_ROWS // _DEAD_A_JOB // _BATCH * _BATCH)
            figures["held"] = drain(database, JOBS)
    else:
        figures["queries"] = idle(database)
    database.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
