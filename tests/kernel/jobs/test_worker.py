"""A worker from outside: what is enqueued gets done, and what goes wrong is as it was said."""

import io
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from services.kernel import db
from services.kernel.caller import Caller
from services.kernel.config import Settings
from services.kernel.db import Database, Session
from services.kernel.ids import new_id
from services.kernel.jobs import (
    Attempt,
    Backoff,
    JobHandler,
    JobState,
    PermanentError,
    QueueGauges,
    RetryableError,
    Worker,
    enqueue,
    sleep,
)
from services.kernel.jobs.gate import SYSTEM
from services.kernel.jobs.queues import Queue
from services.kernel.jobs.sleep import LONGEST_PAUSE
from services.kernel.telemetry import LineWriter, tracer_provider
from services.kernel.unit_of_work import Units
from tests.kernel.conftest import Owner
from tests.kernel.jobs.conftest import Bench, Seen, Workers, outcomes, state_of
from tests.support.waiting import until

SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
AT_ONCE = Backoff(most=timedelta())


class TestRun:
    def test_a_handler_acts_for_its_domain_in_the_jobs_workspace(self, live: Bench, workers: Workers) -> None:
        seen, workspace = Seen(), new_id()
        workers(JobHandler("test.job", live.queue, seen))
        [job] = live.add(live.new(payload=b"p", subject="s"), workspace_id=workspace)
        until(lambda: live.get(job, workspace) is None, "the job's end")
        [attempt], [caller] = seen.attempts, seen.callers
        assert (attempt.job_id, attempt.payload, attempt.subject, attempt.number) == (job, b"p", "s", 1)
        assert attempt.idempotency_key == f"jobs/{job}"
        assert (caller.service, caller.workspace_id, caller.request_id) == ("test", workspace, str(job))

    def test_its_effects_are_its_tenants(self, live: Bench, workers: Workers, units: Units[Session]) -> None:
        follow_up = JobHandler("test.second", live.queue, seen := Seen())
        workspace = new_id()

        def run(attempt: Attempt) -> None:
            with units() as uow:
                assert uow.session.scope.workspace_id == attempt.workspace_id
                uow.enqueue(live.new("test.second"))
                uow.commit()

        workers(JobHandler("test.first", live.queue, run), follow_up)
        live.add(live.new("test.first"), workspace_id=workspace)
        until(lambda: seen.attempts, "the second job")
        assert seen.attempts[0].workspace_id == workspace
        assert seen.attempts[0].actor == "services/test"

    def test_one_attempt_leaves_nothing_for_the_next(self, live: Bench, workers: Workers) -> None:
        seen = Seen()
        workers(JobHandler("test.job", live.queue, seen), threads=1)
        mine = new_id()
        for workspace in (mine, None, mine, None):
            live.add(live.new(), workspace_id=workspace)
        until(lambda: len(seen.callers) == 4, "all jobs")
        assert [one.workspace_id for one in seen.callers] == [one.workspace_id for one in seen.attempts]
        assert {one.workspace_id for one in seen.callers} == {mine, None}

    def test_a_span_goes_on_with_the_enqueuers_trace(self, live: Bench, workers: Workers, settings: Settings) -> None:
        exporter, seen = InMemorySpanExporter(), Seen()
        provider = tracer_provider(settings, "test", SimpleSpanProcessor(exporter))
        workers(JobHandler("test.job", live.queue, seen), provider=provider)
        with live.database.transaction(SYSTEM) as session:
            caller = Caller(service="test", traceparent=SAMPLED)
            enqueue(session, [live.new()], workspace_id=None, caller=caller, now=live.clock.now())
            session.commit()
        until(exporter.get_finished_spans, "the span")
        [span] = exporter.get_finished_spans()
        assert span.context is not None
        assert span.parent is not None
        assert f"{span.context.trace_id:032x}" == SAMPLED[3:35]
        assert f"{span.parent.span_id:016x}" == SAMPLED[36:52]
        assert seen.callers[0].traceparent == f"{SAMPLED[:36]}{span.context.span_id:016x}-01"

    def test_many_workers_share_a_queue_and_each_job_is_done_once(self, live: Bench, workers: Workers) -> None:
        done: Counter[Any] = Counter()
        handler = JobHandler("test.job", live.queue, lambda attempt: done.update([attempt.job_id]))
        for _ in range(3):
            workers(handler, threads=2, batch=7)
        ids = [job for _ in range(5) for job in live.add(*(live.new() for _ in range(60)), workspace_id=new_id())]
        until(lambda: sum(done.values()) >= len(ids), "all jobs")
        until(lambda: all(live.get(job) is None for job in ids), "their end")
        assert done == Counter(ids)


class TestFailures:
    def test_an_error_is_tried_again(self, live: Bench, workers: Workers) -> None:
        numbers: list[int] = []

        def run(attempt: Attempt) -> None:
            numbers.append(attempt.number)
            if attempt.number < 3:
                raise ZeroDivisionError

        workers(JobHandler("test.job", live.queue, run, backoff=AT_ONCE))
        [job] = live.add(live.new())
        until(lambda: live.get(job) is None, "the job's end")
        assert numbers == [1, 2, 3]

    def test_after_the_last_attempt_it_is_dead_and_says_why(self, live: Bench, workers: Workers) -> None:
        def run(attempt: Attempt) -> None:
            raise ZeroDivisionError("by zero")

        workers(JobHandler("test.job", live.queue, run, backoff=AT_ONCE))
        [job] = live.add(live.new(max_attempts=2))
        until(lambda: state_of(live, job) is JobState.DEAD, "the dead letter")
        dead = live.get(job)
        assert dead is not None
        assert (dead.attempt, dead.dead_reason) == (2, "attempts_exhausted")
        assert dead.last_error == "ZeroDivisionError: by zero"

    def test_a_permanent_error_is_the_last(self, live: Bench, workers: Workers) -> None:
        def run(attempt: Attempt) -> None:
            raise PermanentError("gone")

        workers(JobHandler("test.job", live.queue, run))
        [job] = live.add(live.new())
        until(lambda: state_of(live, job) is JobState.DEAD, "the dead letter")
        dead = live.get(job)
        assert dead is not None
        assert (dead.attempt, dead.dead_reason, dead.last_error) == (1, "permanent", "PermanentError: gone")

    def test_retry_after_puts_it_off(self, live: Bench, workers: Workers) -> None:
        def run(attempt: Attempt) -> None:
            raise RetryableError("busy", retry_after=timedelta(hours=5))

        workers(JobHandler("test.job", live.queue, run))
        before = live.clock.now()
        [job] = live.add(live.new())
        until(lambda: state_of(live, job) is JobState.SCHEDULED, "its being put off")
        later = live.get(job)
        assert later is not None
        assert later.run_time - before > timedelta(hours=4, minutes=59)

    def test_what_ends_threads_ends_the_attempt_only(self, live: Bench, workers: Workers) -> None:
        def run(attempt: Attempt) -> None:
            if attempt.number == 1:
                raise SystemExit

        workers(JobHandler("test.job", live.queue, run, backoff=AT_ONCE), threads=1)
        [job] = live.add(live.new())
        until(lambda: live.get(job) is None, "the job's end")

    def test_a_kind_that_this_release_does_not_know_waits_for_one_that_does(
        self, live: Bench, workers: Workers
    ) -> None:
        workers(JobHandler("test.known", live.queue, Seen()))
        [job] = live.add(live.new("test.unknown"))
        until(lambda: (found := live.get(job)) is not None and found.last_error, "the attempt's end")
        found = live.get(job)
        assert found is not None
        assert found.state.queued
        assert "no handler for test.unknown" in found.last_error


class TestSleep:
    def test_whoever_enqueues_wakes_a_sleeper(
        self, live: Bench, workers: Workers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("FIRST_PAUSE", "LONGEST_PAUSE"):
            monkeypatch.setattr(sleep, name, 3600.0)
        seen, woken, wake = Seen(), threading.Event(), Queue.wake

        def heard(queue: Queue) -> None:
            wake(queue)
            woken.set()

        monkeypatch.setattr(Queue, "wake", heard)
        worker = workers(JobHandler("test.job", live.queue, seen), start=False)
        [queue] = worker._queues.values()
        queue.hot, queue.pause = False, 3600.0
        worker._look()
        worker.start()
        until(lambda: woken.is_set() and not queue.hot, "that it listens, and has found nothing")
        live.add(live.new())
        until(lambda: seen.attempts, "the job, which nobody would look for within the hour")

    def test_nobody_is_notified_while_nobody_sleeps(self, live: Bench, owner: Owner) -> None:
        owner.execute("listen plinth_jobs")
        live.add(live.new())
        assert [note for note in owner.notifies(timeout=0.1) if note.payload == live.queue] == []
        owner.execute(
            "insert into jobs.sleepers values (%s, clock_timestamp() + interval '1 minute', 'test')", [live.queue]
        )
        live.add(*(live.new() for _ in range(5)))
        assert len([note for note in owner.notifies(timeout=5, stop_after=1) if note.payload == live.queue]) == 1

    def test_an_idle_worker_asks_less_than_once_a_second(
        self, live: Bench, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handlers = [JobHandler(f"test.{number}", f"{live.queue}-{number}", Seen()) for number in range(8)]
        worker = Worker(database, handlers)
        asked: list[str] = []
        for owner, name in ((db, "_execute"), (Session, "run"), (Session, "all")):
            monkeypatch.setattr(owner, name, _noted(asked, getattr(owner, name)))
        pauses = []
        for _ in range(40):
            worker._expire_at = 0.0
            for queue in worker._queues.values():
                queue.look_at = 0.0
            asked.clear()
            pauses.append(worker._round())
        # One look and one sweep, each with its begin and its end.
        assert 0 < len(asked) < pauses[-1]

    def test_queues_at_rest_come_to_share_one_look(self, live: Bench, database: Database) -> None:
        handlers = [JobHandler(f"test.{number}", f"{live.queue}-{number}", Seen()) for number in range(8)]
        worker = Worker(database, handlers)
        queues = list(worker._queues.values())
        for seconds, queue in enumerate(queues):
            queue.hot, queue.pause, queue.look_at = False, LONGEST_PAUSE, time.monotonic() + seconds
        for _ in range(2):
            earliest = min(queue.look_at for queue in queues)
            for queue in queues:
                queue.look_at -= earliest - time.monotonic()
            worker._look()
        assert len({queue.look_at for queue in queues}) == 1


class TestReport:
    def test_each_attempt_has_a_line_and_is_counted(self, live: Bench, workers: Workers) -> None:
        stream = io.BytesIO()
        writer = LineWriter(stream)

        def run(attempt: Attempt) -> None:
            if attempt.number == 1:
                raise RetryableError("not yet", retry_after=timedelta())

        worker = workers(JobHandler("test.job", live.queue, run), writer=writer)
        workspace = new_id()
        [job] = live.add(live.new(), workspace_id=workspace)
        until(lambda: outcomes(worker)["succeeded"] == 1, "both attempts")
        assert outcomes(worker)["retried"] == 1
        writer.close()
        first, second = map(orjson.loads, stream.getvalue().splitlines())
        assert (first["outcome"], second["outcome"]) == ("retried", "succeeded")
        assert (second["job"], second["workspace"], second["attempt"]) == (str(job), str(workspace), 2)
        assert first["error"]["message"] == "not yet"

    def test_a_gauge_says_how_many_jobs_are_in_hand(self, live: Bench, workers: Workers) -> None:
        go = threading.Event()

        def hold(_: Attempt) -> None:
            assert go.wait(30)

        worker = workers(JobHandler("test.job", live.queue, hold))
        [job] = live.add(live.new())
        until(lambda: b"plinth_job_in_hand 1.0" in _metrics(worker.report), "the job in hand")
        go.set()
        until(lambda: live.get(job) is None, "the job's end")
        until(lambda: b"plinth_job_in_hand 0.0" in _metrics(worker.report), "empty hands")

    def test_gauges_say_how_full_the_queues_are(self, live: Bench, database: Database) -> None:
        live.add(live.new(), live.new(run_at=live.clock.now() + timedelta(hours=1)))
        text = _metrics(QueueGauges(database, live.clock)).decode()
        assert f'plinth_jobs_ready{{queue="{live.queue}"}} 1.0' in text
        assert f'plinth_jobs_scheduled{{queue="{live.queue}"}} 1.0' in text
        assert f'plinth_jobs_running{{queue="{live.queue}"}} 0.0' in text
        assert f'plinth_jobs_dead{{queue="{live.queue}"}} 0.0' in text
        assert f'plinth_jobs_oldest_seconds{{queue="{live.queue}"}}' in text


def _noted(asked: list[str], do: Callable[..., Any]) -> Callable[..., Any]:
    def noting(*arguments: Any, **named: Any) -> Any:
        asked.append(do.__name__)
        return do(*arguments, **named)

    return noting


def _metrics(collector: Any) -> bytes:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry)
