"""What a job is, and where it may stand: values without I/O. Moments are aware and in UTC."""

import random
from collections.abc import Callable
from dataclasses import dataclass
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

    `kind` names the handler, and begins with the domain that it belongs to, e.g. `events.deliver`.
    `workspace_id` is the session's unless a user's or a system session states one; `subject` names the resource that
    it is about. `priority` is -2 to 2, the higher the sooner, whoever's job it is. `run_at` delays it. While a job with
    the same `unique_key` of this kind and workspace lives, a second is not added; a user's session, which sees no keys
    of workspaces, gives none. After `max_attempts` it is a dead letter. A `restricted` one is about what not all in
    the workspace may know of: there, only owners see it.
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
    restricted: bool = False

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
    restricted: bool
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
