"""Jobs that run long: they keep their lease, are cancelled, are overtaken, or given back at the end."""

import threading
from datetime import timedelta
from uuid import UUID

import pytest

from services.kernel.clock import FrozenClock
from services.kernel.db import Database
from services.kernel.jobs import Attempt, JobHandler, JobState, LeaseLost, claims, worker
from services.kernel.jobs.gate import SYSTEM
from tests.kernel.conftest import Owner
from tests.kernel.jobs.conftest import Bench, Hand, Workers, lock_row, outcomes, state_of
from tests.support.waiting import until

# So long that no heartbeat comes by itself within the test.
RARE = timedelta(hours=1)


class Ahead:
    """A worker of one thread with two jobs in hand: it is at the first until `go`."""

    def __init__(self, live: Bench, workers: Workers) -> None:
        self.go = threading.Event()
        self.begun: list[UUID] = []
        self.worker = workers(
            JobHandler("test.quick", live.queue, lambda attempt: None),
            JobHandler("test.slow", live.queue, self._run),
            threads=1,
            lease=RARE,
            drain=timedelta(seconds=30),
        )
        # It claims ahead as far as it has just been fast.
        quick = live.add(*(live.new("test.quick") for _ in range(5)))
        until(lambda: all(live.get(job) is None for job in quick), "its being fast")
        self.first, self.second = live.add(live.new("test.slow"), live.new("test.slow"))
        until(lambda: self.begun and state_of(live, self.second) is JobState.RUNNING, "its having both")

    def _run(self, attempt: Attempt) -> None:
        self.begun.append(attempt.job_id)
        assert self.go.wait(60)


@pytest.fixture
def ahead(live: Bench, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Ahead:
    monkeypatch.setattr(worker, "_AHEAD_SECONDS", 3600.0)
    return Ahead(live, workers)


class TestCancel:
    def test_a_running_job_notices(self, live: Bench, workers: Workers) -> None:
        began = threading.Event()

        def run(attempt: Attempt) -> None:
            began.set()
            attempt.wait(60)

        workers(JobHandler("test.job", live.queue, run), lease=RARE)
        [job] = live.add(live.new())
        assert began.wait(15)
        with live.manage() as repository:
            repository.cancel(None, job, live.clock.now())
        until(lambda: state_of(live, job) is JobState.CANCELLED, "its end")

    def test_one_that_waits_in_the_workers_hand_is_not_begun(self, live: Bench, ahead: Ahead) -> None:
        with live.manage() as repository:
            repository.cancel(None, ahead.second, live.clock.now())
        until(lambda: any(one.hold.cancelled for one in list(ahead.worker._in_hand)), "its hearing of it")
        ahead.go.set()
        until(lambda: state_of(live, ahead.second) is JobState.CANCELLED, "its end")
        assert ahead.begun == [ahead.first]


class TestLeases:
    def test_a_long_job_keeps_its_lease(self, live: Bench, workers: Workers) -> None:
        lease = timedelta(seconds=1)
        renewed = threading.Event()
        firsts: list[float] = []

        def run(attempt: Attempt) -> None:
            firsts.append(attempt.hold.until)
            until(lambda: attempt.hold.until > firsts[0] + lease.total_seconds(), "two heartbeats")
            attempt.check()
            renewed.set()

        workers(JobHandler("test.job", live.queue, run), lease=lease)
        [job] = live.add(live.new())
        assert renewed.wait(15)
        until(lambda: live.get(job) is None, "the job's end")
        assert len(firsts) == 1

    def test_an_attempt_that_another_has_overtaken_is_told_and_refused(
        self, live: Bench, workers: Workers, owner: Owner
    ) -> None:
        told, began = threading.Event(), threading.Event()

        def run(attempt: Attempt) -> None:
            if attempt.number > 1:
                return
            began.set()
            try:
                attempt.wait(60)
            except LeaseLost:
                told.set()
                raise

        running = workers(JobHandler("test.job", live.queue, run), lease=timedelta(seconds=1))
        [job] = live.add(live.new())
        assert began.wait(15)
        # As if another had claimed it while this worker was out of reach.
        owner.execute("update jobs.jobs set fence = fence + 1 where id = %s", [job])
        assert told.wait(15)
        until(lambda: live.get(job) is None, "the next attempt's end")
        until(lambda: outcomes(running)["refused"] == 1, "the refusal")

    def test_a_handler_that_hangs_loses_its_lease_after_its_time(self, live: Bench, workers: Workers) -> None:
        numbers: list[int] = []
        release = threading.Event()

        def run(attempt: Attempt) -> None:
            numbers.append(attempt.number)
            if attempt.number == 1:
                release.wait(30)

        workers(JobHandler("test.job", live.queue, run, timeout=timedelta(seconds=1)), lease=timedelta(seconds=1))
        [job] = live.add(live.new())
        until(lambda: live.get(job) is None, "the second attempt's end")
        release.set()
        assert numbers == [1, 2]


class TestExpiry:
    """After an outage in which no worker looked."""

    def test_of_more_than_are_taken_back_at_once_none_is_forgotten(
        self, bench: Bench, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claims, "_SWEPT_AT_ONCE", 2)
        bench.add(*(bench.new() for _ in range(3)))
        Hand(bench).claim()
        clock.advance(timedelta(hours=1))
        assert [len(bench.expire()) for _ in range(3)] == [2, 1, 0]

    def test_one_that_somebody_has_locked_is_taken_back_later(
        self, bench: Bench, clock: FrozenClock, database: Database
    ) -> None:
        [job] = bench.add(bench.new())
        Hand(bench).claim()
        clock.advance(timedelta(hours=1))
        with database.transaction(SYSTEM) as other:
            lock_row(other, job)
            assert bench.expire() == []
        assert len(bench.expire()) == 1


class TestDrain:
    def test_what_runs_may_end_and_the_rest_is_given_back_uncounted(self, live: Bench, ahead: Ahead) -> None:
        stopping = threading.Thread(target=ahead.worker.stop)
        stopping.start()
        until(lambda: state_of(live, ahead.second) is JobState.ARRIVED, "the second's being given back")
        left = live.get(ahead.second)
        assert left is not None
        assert left.attempt == 0
        ahead.go.set()
        stopping.join(30)
        assert live.get(ahead.first) is None
        assert ahead.begun == [ahead.first]

    def test_what_does_not_end_in_time_is_given_back(self, live: Bench, workers: Workers) -> None:
        go, began = threading.Event(), threading.Event()

        def run(attempt: Attempt) -> None:
            if attempt.number == 1 and not began.is_set():
                began.set()
                assert go.wait(60)

        running = workers(JobHandler("test.job", live.queue, run), threads=1)
        [job] = live.add(live.new())
        assert began.wait(15)
        running.stop()
        left = live.get(job)
        assert left is not None
        assert (left.state, left.attempt) == (JobState.ARRIVED, 0)
        workers(JobHandler("test.job", live.queue, run))
        until(lambda: live.get(job) is None, "another worker's success")
        go.set()
