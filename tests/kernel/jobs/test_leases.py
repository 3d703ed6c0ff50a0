"""Jobs that run long: they keep their lease, are cancelled, are overtaken, or given back at the end."""

import threading
from datetime import timedelta

from services.kernel.jobs import Attempt, JobHandler, JobState, LeaseLost
from tests.kernel.conftest import Owner
from tests.kernel.jobs.conftest import Bench, Workers, outcomes, state_of
from tests.mesh.waiting import until


class TestCancel:
    def test_a_running_job_notices(self, live: Bench, workers: Workers) -> None:
        began = threading.Event()

        def run(attempt: Attempt) -> None:
            began.set()
            attempt.wait(60)

        workers(JobHandler("test.job", live.queue, run))
        [job] = live.add(live.new())
        assert began.wait(15)
        with live.manage() as repository:
            repository.cancel(None, job, live.clock.now())
        until(lambda: state_of(live, job) is JobState.CANCELLED, "its end")

    def test_one_that_waits_in_the_workers_hand_is_not_begun(self, live: Bench, workers: Workers) -> None:
        go, order = threading.Event(), []

        def run(attempt: Attempt) -> None:
            order.append(attempt.job_id)
            assert go.wait(15)

        workers(JobHandler("test.job", live.queue, run, workspace_limit=2), threads=1)
        first, second = live.add(live.new(), live.new())
        until(lambda: order, "the first")
        with live.manage() as repository:
            repository.cancel(None, second, live.clock.now())
        go.set()
        until(lambda: state_of(live, second) is JobState.CANCELLED, "its end")
        assert order == [first]


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

        worker = workers(JobHandler("test.job", live.queue, run), lease=timedelta(seconds=1))
        [job] = live.add(live.new())
        assert began.wait(15)
        # As if another had claimed it while this worker was out of reach.
        owner.execute("update jobs.jobs set fence = fence + 1 where id = %s", [job])
        assert told.wait(15)
        until(lambda: live.get(job) is None, "the next attempt's end")
        until(lambda: outcomes(worker)["refused"] == 1, "the refusal")

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


class TestDrain:
    def test_what_runs_may_end_and_the_rest_is_given_back_uncounted(self, live: Bench, workers: Workers) -> None:
        go, began = threading.Event(), threading.Event()

        def run(attempt: Attempt) -> None:
            began.set()
            assert go.wait(30)

        worker = workers(JobHandler("test.job", live.queue, run), threads=1)
        first, second = live.add(live.new(), live.new())
        assert began.wait(15)
        stopping = threading.Thread(target=worker.stop, args=(30.0,))
        stopping.start()
        go.set()
        stopping.join(30)
        assert live.get(first) is None
        left = live.get(second)
        assert left is None or (left.state.queued and left.attempt == 0)

    def test_what_does_not_end_in_time_is_given_back(self, live: Bench, workers: Workers) -> None:
        go, began = threading.Event(), threading.Event()

        def run(attempt: Attempt) -> None:
            if attempt.number == 1 and not began.is_set():
                began.set()
                assert go.wait(60)

        worker = workers(JobHandler("test.job", live.queue, run), threads=1)
        [job] = live.add(live.new())
        assert began.wait(15)
        worker.stop(0.0)
        left = live.get(job)
        assert left is not None
        assert (left.state, left.attempt) == (JobState.ARRIVED, 0)
        workers(JobHandler("test.job", live.queue, run))
        until(lambda: live.get(job) is None, "another worker's success")
        go.set()
