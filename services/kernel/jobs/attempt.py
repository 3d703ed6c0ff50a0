"""What a handler of jobs is, what it is given, and how it says what went wrong."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.kernel.jobs.model import DEFAULT_BACKOFF, Backoff, Lease, lane_of

# `Attempt.check` and `Attempt.wait`, for long work that need not know of jobs.
Check = Callable[[], None]
Wait = Callable[[float], None]


class RetryableError(Exception):
    """The attempt failed, and another may succeed: after `retry_after` exactly, else after the handler's back-off.

    The message is stored with the job, so it must hold no secret.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(Exception):
    """No further attempt can help: the job is a dead letter from now on. The message is stored with it."""


class JobCancelled(Exception):
    """Somebody has cancelled the job; the handler lets it pass."""


class LeaseLost(Exception):
    """The lease ran out or another worker has the job; whatever this attempt does from now on is not to count."""


class AttemptTimedOut(Exception):
    """The handler has been at work for longer than it may."""


@dataclass(slots=True)
class Hold:
    """What the worker tells an attempt of its lease, from another thread. Times are monotonic seconds.

    `changed` is one for all of a worker's attempts: whoever waits looks again when it is notified.
    """

    until: float
    deadline: float
    changed: threading.Condition
    cancelled: bool = False
    lost: bool = False


# Equal to itself alone: those in hand are a set, and to hash all of its fields is slow.
@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One attempt at a job, inside of which the caller is the domain's service in the job's own workspace.

    `number` counts from 1; `fence` is greater than that of any earlier attempt. `idempotency_key` is the same for all
    attempts, so that an effect outside of the database happens once; `run_time` is when the job was due.
    """

    job_id: UUID
    kind: str
    queue: str
    workspace_id: UUID | None
    subject: str
    payload: bytes
    number: int
    max_attempts: int
    fence: int
    run_time: datetime
    create_time: datetime
    actor: str
    traceparent: str
    unique_key: str | None
    hold: Hold

    @property
    def lease(self) -> Lease:
        """What it holds the job by."""
        return Lease(lane_of(self.workspace_id), self.job_id, self.fence)

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts at this job, and no other's."""
        return f"jobs/{self.job_id}"

    @property
    def last(self) -> bool:
        """Whether the job is given up if this attempt fails."""
        return self.number >= self.max_attempts

    def check(self) -> None:
        """Long work calls it now and then. Raises JobCancelled, LeaseLost or AttemptTimedOut: let them pass."""
        now = time.monotonic()
        if self.hold.lost or now > self.hold.until:
            raise LeaseLost
        if self.hold.cancelled:
            raise JobCancelled
        if now > self.hold.deadline:
            raise AttemptTimedOut

    def wait(self, seconds: float) -> None:
        """Sleep, but wake up and raise as `check` does when the job is cancelled or its lease lost."""
        hold = self.hold
        with hold.changed:
            hold.changed.wait_for(lambda: hold.cancelled or hold.lost, seconds)
        self.check()


@dataclass(frozen=True, slots=True)
class JobHandler:
    """Does the jobs of one kind. `run` returns when the job is done; what it raises says what comes next.

    RetryableError and every unforeseen error: another attempt after `backoff`; PermanentError: a dead letter. Limits
    count jobs under way over all workers: `queue_limit` in the whole queue, `workspace_limit` for each workspace in
    it; of several handlers of a queue the least counts. After `timeout` the lease is no longer renewed. A job that
    succeeded can be looked at for as long as `keep` says.
    """

    kind: str
    queue: str
    run: Callable[[Attempt], None]
    queue_limit: int | None = None
    workspace_limit: int | None = None
    backoff: Backoff = DEFAULT_BACKOFF
    timeout: timedelta = timedelta(hours=1)
    keep: timedelta | None = None
