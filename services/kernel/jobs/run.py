"""Runs a handler for one attempt, as the service of its domain in the job's workspace, and says how it ended."""

import random
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime

from opentelemetry.trace import SpanKind, StatusCode, Tracer

from services.kernel import spans
from services.kernel.caller import Caller, set_caller
from services.kernel.clock import Clock
from services.kernel.deadline import set_deadline
from services.kernel.errors import PlinthError
from services.kernel.jobs.attempt import (
    Attempt,
    JobCancelled,
    JobHandler,
    LeaseLost,
    PermanentError,
    RetryableError,
)
from services.kernel.jobs.model import DEFAULT_BACKOFF, DeadReason, JobState, Settlement
from services.kernel.telemetry import describe

_LONGEST_ERROR = 1_000


class UnknownKind(Exception):
    """No handler of this process does such jobs; a worker of another release may."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One attempt, how it ended, and what it took. `settlement` is None where the lease was lost."""

    attempt: Attempt
    settlement: Settlement | None
    error: BaseException | None
    began: datetime
    seconds: float
    trace_id: str


def run(attempt: Attempt, handler: JobHandler | None, clock: Clock, tracer: Tracer | None) -> Ran:
    """One attempt from begin to end; whatever the handler raises is said in the answer."""
    began, started = clock.now(), time.perf_counter()
    # A context of its own: nothing that a handler sets there reaches the next one on this thread.
    error, trace_id = Context().run(_in_context, attempt, handler, tracer)
    settlement = settled(attempt, handler, error, clock.now())
    return Ran(attempt, settlement, error, began, time.perf_counter() - started, trace_id)


def settled(
    attempt: Attempt,
    handler: JobHandler | None,
    error: BaseException | None,
    now: datetime,
    draw: Callable[[], float] = random.random,
) -> Settlement | None:
    """What is to become of the job after an attempt that raised `error`, or None."""
    lease = attempt.lease
    match error:
        case None:
            keep = handler.keep if handler is not None else None
            return Settlement(lease, JobState.SUCCEEDED, keep_until=now + keep if keep is not None else None)
        case LeaseLost():
            return None
        case JobCancelled():
            return Settlement(lease, JobState.CANCELLED)
        case PermanentError():
            return Settlement(lease, JobState.DEAD, reason=DeadReason.PERMANENT, error=said(error))
    if attempt.last:
        return Settlement(lease, JobState.DEAD, reason=DeadReason.ATTEMPTS_EXHAUSTED, error=said(error))
    delay = error.retry_after if isinstance(error, RetryableError | PlinthError) else None
    if delay is None:
        backoff = handler.backoff if handler is not None else DEFAULT_BACKOFF
        delay = backoff.delay(attempt.number, draw)
    return Settlement(lease, JobState.ARRIVED, run_time=now + delay, error=said(error))


def _in_context(
    attempt: Attempt, handler: JobHandler | None, tracer: Tracer | None
) -> tuple[BaseException | None, str]:
    span = None
    traceparent = attempt.traceparent
    if tracer is not None and spans.is_recorded(traceparent):
        span, traceparent = spans.begin(
            tracer,
            f"job {attempt.kind}",
            traceparent,
            SpanKind.CONSUMER,
            {"plinth.job": str(attempt.job_id), "plinth.job.attempt": attempt.number},
        )
    trace_id = traceparent[3:35]
    set_caller(
        Caller(
            service=attempt.kind.partition(".")[0],
            workspace_id=attempt.workspace_id,
            request_id=str(attempt.job_id),
            trace_id=trace_id,
            traceparent=traceparent,
        )
    )
    set_deadline(attempt.hold.deadline)
    error: BaseException | None = None
    try:
        if handler is None:
            raise UnknownKind(f"no handler for {attempt.kind}")
        attempt.check()
        handler.run(attempt)
    except BaseException as raised:  # noqa: BLE001  # whatever it is, it ends the attempt and not the thread
        error = raised
    if span is not None:
        if error is not None and not isinstance(error, JobCancelled):
            span.set_status(StatusCode.ERROR)
        span.end()
    return error, trace_id


def said(error: BaseException) -> str:
    """An error as it is stored: of bounded length, and without the further lines, which quote rows (see `describe`)."""
    text = f"{type(error).__name__}: {describe(error)['message']}"[:_LONGEST_ERROR]
    # A text of PostgreSQL holds neither surrogates nor NUL.
    return text.encode(errors="replace").decode().replace("\0", "?")
