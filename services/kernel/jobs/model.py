"""What a job is, and what may become of it: a state machine without I/O.

The statements of `repository`, `gate` and `claims` do to rows what the functions here do to values; a model-checking
test holds the two together. Moments are aware and in UTC.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from google.protobuf.message import Message

MAX_PRIORITY = 2
DEFAULT_MAX_ATTEMPTS = 20
# How long a job can be looked at that was cancelled or discarded. A dead one stays until somebody sees to it.
KEPT = timedelta(days=7)
LEASE_EXPIRED = "The worker's lease ran out before the attempt ended."
_NO_WORKSPACE = UUID(int=0)


def lane_of(workspace_id: UUID | None) -> UUID:
    """Who takes turns with others in a queue: a workspace; all jobs of the system together are one."""
    return workspace_id or _NO_WORKSPACE


class JobState(StrEnum):
    """Where a job stands. The first four are one to whoever asks from outside: it is queued."""

    ARRIVED = "arrived"
    """It was enqueued, or came back; the gate has not seen it yet."""
    SCHEDULED = "scheduled"
    """Its time has not come."""
    WAITING = "waiting"
    """Its workspace has as many jobs under way in this queue as it may."""
    READY = "ready"
    """It has its turn, and whoever claims next may get it."""
    RUNNING = "running"
    """A worker holds its lease."""
    SUCCEEDED = "succeeded"
    """It is done, and its handler wants it seen for a while."""
    DEAD = "dead"
    """It was given up; somebody may requeue or discard it."""
    CANCELLED = "cancelled"
    """Somebody wanted it no more before it was done."""
    DISCARDED = "discarded"
    """It was dead, and nobody wants it."""

    @property
    def queued(self) -> bool:
        """Whether it waits for a worker."""
        return self in QUEUED

    @property
    def live(self) -> bool:
        """Whether it may still run; only live jobs hold their unique keys."""
        return self in QUEUED or self is JobState.RUNNING


QUEUED = frozenset({JobState.ARRIVED, JobState.SCHEDULED, JobState.WAITING, JobState.READY})


class DeadReason(StrEnum):
    """Why a job was given up."""

    PERMANENT = "permanent"
    """Its handler said that no further attempt can help."""
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    """The last attempt that it had failed."""
    LEASE_EXPIRED = "lease_expired"
    """The last attempt that it had ended with its worker: it may be what ends workers."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """Work to be done once the enqueuer's transaction commits.

    `kind` names the handler, and begins with the domain that it belongs to, e.g. `events.deliver_webhook`.
    `workspace_id` is the session's unless a user's or a system session states one; `subject` names the resource that
    it is about. `priority` is -2 to 2, the higher the sooner, whoever's job it is. `run_at` delays it. While a job with
    the same `unique_key` of this kind and workspace lives, a second is not added; a user's session, which sees no keys
    of workspaces, gives none. After `max_attempts` it is a dead letter.
    """

    queue: str
    kind: str
    payload: bytes | Message = b""
    workspace_id: UUID | None = None
    priority: int = 0
    run_at: datetime | None = None
    unique_key: str | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    subject: str = ""

    def __post_init__(self) -> None:
        if not -MAX_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise ValueError(f"a priority is -{MAX_PRIORITY} to {MAX_PRIORITY}, not {self.priority}")
        if self.max_attempts < 1:
            raise ValueError("a job needs at least one attempt")

    def data(self) -> bytes:
        """The payload as it is stored."""
        return self.payload if isinstance(self.payload, bytes) else self.payload.SerializeToString()


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it lies in its table. `fence` grows with each attempt, over requeues too; `attempt` counts anew."""

    id: UUID
    workspace_id: UUID | None
    queue: str
    kind: str
    subject: str
    priority: int
    state: JobState
    unique_key: str | None
    attempt: int
    max_attempts: int
    fence: int
    cancel_requested: bool
    dead_reason: str
    last_error: str
    actor: str
    create_time: datetime
    run_time: datetime
    lease_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None

    @property
    def lane(self) -> UUID:
        """Who takes its turn."""
        return lane_of(self.workspace_id)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS 2015).

    The delay after attempt n is drawn evenly from zero to base × 2^(n-1), and to `most` at most.
    """

    base: timedelta = timedelta(seconds=1)
    most: timedelta = timedelta(hours=1)

    def delay(self, attempt: int, draw: Callable[[], float] = random.random) -> timedelta:
        """How long to wait after this attempt (from 1); `draw` answers 0 to 1."""
        # Past this many doublings any base of a microsecond or more is beyond what a timedelta holds.
        doublings = min(attempt - 1, 40)
        return draw() * min(self.most, timedelta(seconds=self.base.total_seconds() * 2.0**doublings))


DEFAULT_BACKOFF = Backoff()


@dataclass(frozen=True, slots=True)
class Lease:
    """What an attempt holds a job by: worth nothing once the job has another fence, or runs no more."""

    lane: UUID
    job_id: UUID
    fence: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one attempt ended: where the job goes from it, as long as the attempt's fence still holds.

    `keep_until` keeps a job that succeeded to be seen; without it the row goes. `counted` is false where the attempt
    was broken off by no fault of the job.
    """

    lease: Lease
    state: JobState
    run_time: datetime | None = None
    reason: str = ""
    error: str = ""
    keep_until: datetime | None = None
    counted: bool = True


def first_fence(now: datetime) -> int:
    """The least fence of a claim: its moment in microseconds.

    So a claim that a crash of the database undid, for claims are committed without waiting for the disk, never shares
    its fence with the next one.
    """
    return int(now.timestamp() * 1_000_000)


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
