"""Backoff, priorities and what follows from how an attempt ended: pure values."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import Overloaded
from services.kernel.ids import new_id
from services.kernel.jobs import (
    Attempt,
    AttemptTimedOut,
    Backoff,
    DeadReason,
    JobCancelled,
    JobHandler,
    JobState,
    LeaseLost,
    NewJob,
    PermanentError,
    RetryableError,
)
from services.kernel.jobs.attempt import Hold
from services.kernel.jobs.gate import Limits
from services.kernel.jobs.queues import limits_of
from services.kernel.jobs.run import settled

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HANDLER = JobHandler("test.job", "queue", lambda attempt: None)


def attempt(number: int = 1, max_attempts: int = 20, **hold: float) -> Attempt:
    return Attempt(
        job_id=new_id(),
        kind="test.job",
        queue="queue",
        workspace_id=None,
        subject="",
        payload=b"",
        number=number,
        max_attempts=max_attempts,
        fence=number,
        run_time=NOW,
        create_time=NOW,
        actor="",
        traceparent="",
        unique_key=None,
        hold=Hold(hold.get("until", float("inf")), hold.get("deadline", float("inf")), threading.Condition()),
    )


class TestBackoff:
    @given(attempt=st.integers(1, 10_000), draw=st.floats(0, 1))
    def test_it_lies_between_nothing_and_twice_as_much_each_time_and_never_beyond_the_most(
        self, attempt: int, draw: float
    ) -> None:
        backoff = Backoff(base=timedelta(seconds=2), most=timedelta(minutes=10))
        delay = backoff.delay(attempt, lambda: draw)
        assert timedelta() <= delay <= timedelta(minutes=10)
        assert delay <= timedelta(seconds=2) * 2 ** min(attempt - 1, 20)

    def test_the_jitter_is_full(self) -> None:
        backoff = Backoff(base=timedelta(seconds=8), most=timedelta(hours=1))
        assert backoff.delay(1, lambda: 0.0) == timedelta()
        assert backoff.delay(1, lambda: 1.0) == timedelta(seconds=8)
        assert backoff.delay(3, lambda: 0.5) == timedelta(seconds=16)


class TestLimits:
    def test_of_several_handlers_of_a_queue_the_least_counts(self) -> None:
        def handler(queue: str, of_queue: int | None, of_workspace: int | None) -> JobHandler:
            return JobHandler(
                "test.job", queue, lambda attempt: None, queue_limit=of_queue, workspace_limit=of_workspace
            )

        limits = limits_of([handler("a", 5, None), handler("a", 3, 2), handler("a", None, 4), handler("b", None, None)])
        assert limits == {"a": Limits(queue=3, workspace=2), "b": Limits()}


class TestNewJob:
    @pytest.mark.parametrize("priority", [-3, 3])
    def test_a_priority_that_no_queue_has_is_refused_at_once(self, priority: int) -> None:
        with pytest.raises(ValueError, match="priority"):
            NewJob("queue", "test.job", priority=priority)

    def test_a_job_without_an_attempt_is_refused_at_once(self) -> None:
        with pytest.raises(ValueError, match="attempt"):
            NewJob("queue", "test.job", max_attempts=0)


class TestWhatFollows:
    def test_a_return_ends_the_job_and_leaves_nothing(self) -> None:
        settlement = settled(attempt(), HANDLER, None, NOW)
        assert settlement is not None
        assert (settlement.state, settlement.keep_until) == (JobState.SUCCEEDED, None)

    def test_a_handler_may_want_its_successes_seen(self) -> None:
        handler = JobHandler("test.job", "queue", lambda attempt: None, keep=timedelta(days=1))
        settlement = settled(attempt(), handler, None, NOW)
        assert settlement is not None
        assert settlement.keep_until == NOW + timedelta(days=1)

    def test_any_error_means_another_attempt_after_the_back_off(self) -> None:
        settlement = settled(attempt(number=3), HANDLER, ZeroDivisionError("by zero"), NOW, draw=lambda: 1.0)
        assert settlement is not None
        assert (settlement.state, settlement.run_time) == (JobState.ARRIVED, NOW + timedelta(seconds=4))
        assert settlement.error == "ZeroDivisionError: by zero"

    @pytest.mark.parametrize(
        "error", [RetryableError("x", retry_after=timedelta(hours=10)), Overloaded(timedelta(hours=10))]
    )
    def test_retry_after_is_kept_to_exactly(self, error: Exception) -> None:
        settlement = settled(attempt(), HANDLER, error, NOW)
        assert settlement is not None
        assert settlement.run_time == NOW + timedelta(hours=10)

    @pytest.mark.parametrize("error", [ZeroDivisionError(), RetryableError("x", retry_after=timedelta(hours=10))])
    def test_the_last_attempt_is_the_last_whatever_it_says(self, error: Exception) -> None:
        settlement = settled(attempt(number=20), HANDLER, error, NOW)
        assert settlement is not None
        assert (settlement.state, settlement.reason) == (JobState.DEAD, DeadReason.ATTEMPTS_EXHAUSTED)

    def test_a_permanent_error_is_not_tried_again(self) -> None:
        settlement = settled(attempt(), HANDLER, PermanentError("no such address"), NOW)
        assert settlement is not None
        assert (settlement.state, settlement.reason) == (JobState.DEAD, DeadReason.PERMANENT)
        assert settlement.error == "PermanentError: no such address"

    def test_a_cancelled_job_ends(self) -> None:
        settlement = settled(attempt(number=20), HANDLER, JobCancelled(), NOW)
        assert settlement is not None
        assert settlement.state is JobState.CANCELLED

    def test_who_lost_the_lease_has_no_say(self) -> None:
        assert settled(attempt(), HANDLER, LeaseLost(), NOW) is None

    def test_the_rows_that_a_database_error_quotes_are_not_stored(self) -> None:
        settlement = settled(attempt(), HANDLER, RuntimeError("duplicate key\nDETAIL: (email)=(ada@example.com)"), NOW)
        assert settlement is not None
        assert "ada" not in settlement.error

    def test_what_no_text_of_the_database_can_hold_is_replaced(self) -> None:
        settlement = settled(attempt(), HANDLER, RuntimeError("nul \0, surrogate \ud800"), NOW)
        assert settlement is not None
        assert settlement.error == "RuntimeError: nul ?, surrogate ?"


class TestCheck:
    def test_all_is_well(self) -> None:
        attempt().check()

    def test_a_lease_that_was_not_renewed_in_time_is_lost(self) -> None:
        with pytest.raises(LeaseLost):
            attempt(until=0.0).check()

    def test_a_lease_that_another_has_is_lost(self) -> None:
        lost = attempt()
        lost.hold.lost = True
        with pytest.raises(LeaseLost):
            lost.check()

    def test_somebody_cancelled_it(self) -> None:
        cancelled = attempt()
        cancelled.hold.cancelled = True
        with pytest.raises(JobCancelled):
            cancelled.check()

    def test_it_took_too_long(self) -> None:
        with pytest.raises(AttemptTimedOut):
            attempt(deadline=0.0).check()

    def test_who_waits_is_told_at_once(self) -> None:
        waiting = attempt()
        told: list[type[BaseException]] = []

        def wait() -> None:
            try:
                waiting.wait(60)
            except JobCancelled as error:
                told.append(type(error))

        thread = threading.Thread(target=wait)
        thread.start()
        with waiting.hold.changed:
            waiting.hold.cancelled = True
            waiting.hold.changed.notify_all()
        thread.join(30)
        assert told == [JobCancelled]
