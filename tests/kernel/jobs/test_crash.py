"""A worker dies in the middle of its jobs: another takes over, nothing is lost and no effect happens twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from services.kernel.db import Database
from services.kernel.errors import PlinthError
from services.kernel.jobs import Attempt, DeadReason, JobHandler, JobState, gate
from services.kernel.jobs.gate import SYSTEM
from tests.kernel.conftest import Owner
from tests.kernel.jobs import crashing
from tests.kernel.jobs.conftest import Bench, Workers, lock_row
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def effects(owner: Owner) -> Iterator[Callable[[], dict[str, int]]]:
    """Which effects there are, and under which fence each happened."""
    owner.execute("create table public.effects (key text primary key, workspace text, fence bigint)")
    owner.execute("grant select, insert on public.effects to plinth_jobs_system")
    yield lambda: {row["key"]: row["fence"] for row in owner.execute("select key, fence from public.effects")}
    owner.execute("drop table public.effects")


class Victim:
    """A worker in a process of its own."""

    def __init__(self, url: str, queue: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", crashing.__name__, url, queue],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "gen")))},
        )

    def begun(self, count: int) -> list[str]:
        """The ids of the first jobs that it has begun."""
        assert self._process.stdout is not None
        return [self._process.stdout.readline().strip() for _ in range(count)]

    def kill(self) -> None:
        """At once, without a word."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(15)


@pytest.fixture
def victim(kernel_url: str, live: Bench) -> Iterator[Victim]:
    started = Victim(kernel_url, live.queue)
    yield started
    started.kill()


class TestKilled:
    def test_another_takes_over_when_the_lease_is_over_and_no_effect_is_doubled(
        self,
        live: Bench,
        victim: Victim,
        workers: Workers,
        database: Database,
        effects: Callable[[], dict[str, int]],
    ) -> None:
        ids = live.add(*(live.new() for _ in range(12)))
        begun = victim.begun(3)
        before = effects()
        assert set(before) == {f"jobs/{job}" for job in begun}
        victim.kill()
        numbers: dict[str, int] = {}

        def run(attempt: Attempt) -> None:
            numbers[attempt.idempotency_key] = attempt.number
            crashing.effect(database, attempt)

        workers(JobHandler("test.job", live.queue, run), lease=timedelta(seconds=2))
        until(lambda: all(live.get(job) is None for job in ids), "the end of every job")
        after = effects()
        assert set(after) == {f"jobs/{job}" for job in ids}
        assert {key: after[key] for key in before} == before, "an effect happened again"
        assert {numbers[key] for key in before} == {2}

    @pytest.mark.usefixtures("effects")
    def test_a_job_that_takes_its_workers_with_it_is_given_up(
        self, live: Bench, victim: Victim, workers: Workers
    ) -> None:
        [job] = live.add(live.new(max_attempts=1))
        assert victim.begun(1) == [str(job)]
        victim.kill()
        workers(JobHandler("test.job", live.queue, lambda attempt: None), lease=timedelta(seconds=2))
        until(lambda: (found := live.get(job)) is not None and found.state is JobState.DEAD, "the dead letter")
        dead = live.get(job)
        assert dead is not None
        assert dead.dead_reason == DeadReason.LEASE_EXPIRED


class TestLockedRows:
    def test_a_row_that_somebody_keeps_locked_holds_up_no_other(
        self, live: Bench, workers: Workers, database: Database
    ) -> None:
        done: list[UUID] = []
        locked, *others = live.add(*(live.new() for _ in range(20)))
        with database.transaction(SYSTEM) as other:
            lock_row(other, locked)
            workers(JobHandler("test.job", live.queue, lambda attempt: done.append(attempt.job_id)))
            until(lambda: len(done) == len(others), "all others")
            assert locked not in done
        until(lambda: locked in done, "the one that was locked")


class TestCut:
    def test_a_worker_that_loses_its_connections_goes_on(
        self, live: Bench, workers: Workers, database: Database, owner: Owner
    ) -> None:
        done: list[str] = []
        workers(JobHandler("test.job", live.queue, lambda attempt: done.append(attempt.idempotency_key)))
        live.add(live.new())
        until(lambda: done, "the first job")
        owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name like 'plinth%'"
        )

        def add() -> bool:
            try:
                live.add(live.new())
            except PlinthError:
                return False
            return True

        until(add, "a connection")
        until(lambda: len(done) == 2, "the second job")

    def test_who_falls_silent_with_a_queues_lock_loses_it(self, database: Database) -> None:
        show = text("select current_setting('idle_in_transaction_session_timeout') as setting")
        with database.transaction(SYSTEM) as session:
            gate.prepare(session)
            assert session.first(show, lambda setting: setting) == "5s"
