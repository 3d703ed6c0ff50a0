"""What may become of a job: a state machine without I/O, which the rows have to follow."""

from dataclasses import replace
from datetime import datetime

from services.kernel.jobs import DeadReason, Job, JobState
from services.kernel.jobs.model import LEASE_EXPIRED, Lease, Settlement, first_fence


def claim(job: Job, *, lease_time: datetime, now: datetime) -> Job:
    """A worker takes a ready job."""
    return replace(
        job,
        state=JobState.RUNNING,
        attempt=job.attempt + 1,
        fence=max(job.fence + 1, first_fence(now)),
        lease_time=lease_time,
        start_time=now,
    )


def holds(job: Job, fence: int) -> bool:
    """Whether an attempt still has its lease: it runs, and nobody has claimed it since."""
    return job.state is JobState.RUNNING and job.fence == fence


def settle(job: Job, settlement: Settlement, *, now: datetime) -> Job | None:
    """The job after an attempt, unchanged where the fence is old; None where it is done and not kept."""
    if not holds(job, settlement.lease.fence):
        return job
    state = settlement.state
    if job.cancel_requested and state is not JobState.SUCCEEDED:
        state = JobState.CANCELLED
    if state is JobState.SUCCEEDED and settlement.keep_until is None:
        return None
    ended = not state.live
    return replace(
        job,
        state=state,
        attempt=job.attempt if settlement.counted else job.attempt - 1,
        lease_time=None,
        run_time=settlement.run_time or job.run_time,
        dead_reason=settlement.reason if state is JobState.DEAD else "",
        last_error=settlement.error or job.last_error,
        end_time=now if ended else None,
    )


def expire(job: Job, *, now: datetime) -> Job:
    """What becomes of a running job whose lease has run out: another attempt, if it has one left."""
    if job.state is not JobState.RUNNING or job.lease_time is None or job.lease_time > now:
        return job
    exhausted = job.attempt >= job.max_attempts
    settlement = Settlement(
        lease=Lease(job.lane, job.id, job.fence),
        state=JobState.DEAD if exhausted else JobState.ARRIVED,
        run_time=now,
        reason=DeadReason.LEASE_EXPIRED if exhausted else "",
        error=LEASE_EXPIRED,
    )
    return settle(job, settlement, now=now) or job


def cancel(job: Job, *, now: datetime) -> Job:
    """Queued, it ends; running, its worker is asked to stop; ended, nothing changes."""
    if job.state.queued:
        return replace(job, state=JobState.CANCELLED, end_time=now)
    if job.state is JobState.RUNNING:
        return replace(job, cancel_requested=True)
    return job


def requeue(job: Job, *, now: datetime) -> Job:
    """Put a dead or cancelled job back, with all its attempts before it; another stays as it is."""
    if job.state not in (JobState.DEAD, JobState.CANCELLED):
        return job
    return replace(
        job,
        state=JobState.ARRIVED,
        attempt=0,
        cancel_requested=False,
        dead_reason="",
        run_time=now,
        end_time=None,
    )


def discard(job: Job, *, now: datetime) -> Job:
    """Take a dead job off the list; another stays as it is."""
    return replace(job, state=JobState.DISCARDED, end_time=now) if job.state is JobState.DEAD else job
