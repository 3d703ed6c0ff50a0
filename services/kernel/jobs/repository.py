"""Jobs as their workspace sees and manages them, and the counts of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import ColumnElement, Text, bindparam, delete, func, literal_column, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel.db import Session, Statement, compiled
from services.kernel.errors import ConcurrentUpdate
from services.kernel.jobs.model import KEPT, Job, JobState, lane_of
from services.kernel.jobs.tables import jobs

CANCEL_CHANNEL = "plinth_jobs_cancel"
WAKE_CHANNEL = "plinth_jobs"
_LAST = UUID(int=2**128 - 1)

_t = jobs.c
_COLUMNS = (
    _t.id,
    _t.workspace_id,
    _t.queue,
    _t.kind,
    _t.subject,
    _t.rank,
    _t.state,
    _t.unique_key,
    _t.attempt,
    _t.max_attempts,
    _t.fence,
    _t.cancel_requested,
    _t.dead_reason,
    _t.last_error,
    _t.actor,
    _t.restricted,
    _t.create_time,
    _t.run_time,
    _t.lease_time,
    _t.start_time,
    _t.end_time,
)
_in_lane = _t.lane == bindparam("lane")
_by_id = (_in_lane, _t.id == bindparam("job"))
_FILTERS = {
    "states": _t.state == func.any(bindparam("states", type_=ARRAY(Text))),
    "queue": _t.queue == bindparam("queue"),
    "kind": _t.kind == bindparam("kind"),
}
# As a literal, for the planner: see LIVE.
_DEAD: ColumnElement[bool] = literal_column("state = 'dead'")
_GET = compiled(select(*_COLUMNS).where(*_by_id))
_LOCK = compiled(select(*_COLUMNS).where(*_by_id).with_for_update())
_PAYLOAD = compiled(select(_t.payload).where(*_by_id))
_CANCEL_QUEUED = compiled(
    update(jobs)
    .where(*_by_id)
    .values(state=JobState.CANCELLED.value, end_time=bindparam("now"), expire_time=bindparam("until"))
)
_CANCEL_RUNNING = compiled(update(jobs).where(*_by_id).values(cancel_requested=True))
_DISCARD = compiled(
    update(jobs)
    .where(*_by_id)
    .values(state=JobState.DISCARDED.value, end_time=bindparam("now"), expire_time=bindparam("until"))
)
_NOTIFY = compiled(select(func.pg_notify(bindparam("channel"), bindparam("word"))))
_REQUEUE = compiled(
    update(jobs)
    .where(_in_lane, _t.id == func.any(bindparam("ids", type_=ARRAY(_t.id.type))))
    .values(
        state=JobState.ARRIVED.value,
        arrival=func.pg_current_xact_id(),
        attempt=0,
        cancel_requested=False,
        dead_reason="",
        run_time=bindparam("now"),
        end_time=None,
        expire_time=None,
    )
)
# None whose key a live job holds; of the dead that share a key only the newest comes back, and so the newest are read
# first: a limit then parts no key from its newest.
_REQUEUEABLE = compiled(
    text("""
select id, queue,
    row_number() over (partition by kind, coalesce(unique_key, cast(id as text)) order by id desc) = 1 as newest
from (
    select id, queue, kind, unique_key from jobs.jobs dead
    where lane = :lane and state = 'dead' and (cast(:restricted_too as boolean) or not restricted)
      and (cast(:ids as uuid[]) is null or id = any(cast(:ids as uuid[])))
      and (cast(:since as timestamptz) is null or end_time >= cast(:since as timestamptz))
      and not exists (
          select from jobs.jobs live
          where live.lane = dead.lane and live.kind = dead.kind
            and live.unique_key = dead.unique_key
            and live.state in ('arrived', 'scheduled', 'waiting', 'ready', 'running')
      )
    order by id desc limit :count for update skip locked
) locked
""")
)
_SWEEP = compiled(
    delete(jobs).where(
        tuple_(_t.lane, _t.id).in_(
            select(_t.lane, _t.id)
            .where(_t.expire_time <= bindparam("now"))
            .limit(bindparam("count"))
            .with_for_update(skip_locked=True)
        )
    )
)
_COUNTS = compiled(
    text("""
select queue,
    count(*) filter (where state in ('arrived', 'ready', 'waiting') and run_time <= :now) as ready,
    count(*) filter (where state = 'running') as running,
    count(*) filter (where state in ('arrived', 'scheduled') and run_time > :now) as scheduled,
    count(*) filter (where state = 'dead') as dead,
    min(run_time) filter (where state in ('arrived', 'ready', 'waiting', 'scheduled') and run_time <= :now) as oldest
from jobs.jobs group by queue order by queue
""")
)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; what is not given does not narrow it down."""

    states: frozenset[JobState] = frozenset()
    queue: str = ""
    kind: str = ""
    restricted_too: bool = True


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many jobs of a queue stand where, and since when the oldest that could run has waited."""

    queue: str
    ready: int
    running: int
    scheduled: int
    dead: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class _Requeueable:
    id: UUID
    queue: str
    newest: bool = True


class JobRepository:
    """Jobs of the session's workspace; in a session of the system, of any, and of none."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, workspace_id: UUID | None, job_id: UUID) -> Job | None:
        """The job."""
        return self._session.first(_GET, _job, lane=lane_of(workspace_id), job=job_id)

    def lock(self, workspace_id: UUID | None, job_id: UUID) -> Job | None:
        """The job, as it stays until the commit."""
        return self._session.first(_LOCK, _job, lane=lane_of(workspace_id), job=job_id)

    def payload(self, workspace_id: UUID | None, job_id: UUID) -> bytes | None:
        """What its handler is given."""
        return self._session.first(_PAYLOAD, _payload, lane=lane_of(workspace_id), job=job_id)

    def list_newest(
        self, workspace_id: UUID, wanted: JobFilter, after: UUID | None = None, count: int = 50
    ) -> list[Job]:
        """Jobs that the filter lets through, newest first, after the one named."""
        only_dead = wanted.states == {JobState.DEAD}
        values = {
            "states": [] if only_dead else [state.value for state in wanted.states],
            "queue": wanted.queue,
            "kind": wanted.kind,
        }
        given = {name: value for name, value in values.items() if value}
        statement = _newest(only_dead, wanted.restricted_too, frozenset(given))
        return self._session.all(
            statement, _job, lane=lane_of(workspace_id), after=after or _LAST, count=count, **given
        )

    def cancel(self, workspace_id: UUID | None, job_id: UUID, now: datetime) -> Job | None:
        """Queued, it ends; running, its worker is asked to stop; ended, nothing changes. The job as it is then."""
        job = self.lock(workspace_id, job_id)
        if job is not None and job.state.queued:
            self._session.run(_CANCEL_QUEUED, lane=lane_of(workspace_id), job=job_id, now=now, until=now + KEPT)
        elif job is not None and job.state is JobState.RUNNING:
            self._session.run(_CANCEL_RUNNING, lane=lane_of(workspace_id), job=job_id)
            self._session.run(_NOTIFY, channel=CANCEL_CHANNEL, word=str(job_id))
        return self.get(workspace_id, job_id)

    def requeue(self, job: Job, now: datetime) -> None:
        """Put a dead or cancelled job back that is locked, with all its attempts before it.

        Raises psycopg's UniqueViolation where a live job holds its unique key.
        """
        self._back(job.lane, [_Requeueable(job.id, job.queue)], now)

    def requeue_dead(
        self,
        workspace_id: UUID | None,
        now: datetime,
        *,
        job_ids: Sequence[UUID] | None = None,
        since: datetime | None = None,
        restricted_too: bool = True,
        count: int = 10_000,
    ) -> tuple[int, bool]:
        """Put dead jobs back: those named, those that died since, or both; how many, and whether there may be more.

        One whose key is taken stays, and of several with the same key all but the newest. No more than `count` are
        looked at, from the newest on. Raises ConcurrentUpdate where a key was taken meanwhile.
        """
        found = self._session.all(
            _REQUEUEABLE,
            _Requeueable,
            lane=lane_of(workspace_id),
            ids=list(job_ids) if job_ids is not None else None,
            since=since,
            restricted_too=restricted_too,
            count=count,
        )
        returning = [one for one in found if one.newest]
        try:
            self._back(lane_of(workspace_id), returning, now)
        except UniqueViolation:
            raise ConcurrentUpdate from None
        return len(returning), len(found) == count

    def discard(self, workspace_id: UUID | None, job_id: UUID, now: datetime) -> None:
        """Take a job off the list that is locked and dead."""
        self._session.run(_DISCARD, lane=lane_of(workspace_id), job=job_id, now=now, until=now + KEPT)

    def _back(self, lane: UUID, found: Sequence[_Requeueable], now: datetime) -> None:
        if found:
            self._session.run(_REQUEUE, lane=lane, ids=[one.id for one in found], now=now)
            for queue in {one.queue for one in found}:
                self._session.run(_NOTIFY, channel=WAKE_CHANNEL, word=queue)


def counts(session: Session, now: datetime) -> list[QueueCounts]:
    """Of all queues that hold any job. In a session of the system: it reads every row."""
    return session.all(_COUNTS, QueueCounts, now=now)


def sweep(session: Session, now: datetime, count: int) -> int:
    """Delete jobs that ended and are kept no longer; how many, at most `count`. In a session of the system."""
    return session.run(_SWEEP, now=now, count=count)


@cache
def _newest(only_dead: bool, restricted_too: bool, filters: frozenset[str]) -> Statement:
    """Compiled once for each combination."""
    wanted = [_in_lane, _t.id < bindparam("after")]
    wanted += [_DEAD] if only_dead else []
    wanted += [] if restricted_too else [~_t.restricted]
    wanted += [restriction for name, restriction in _FILTERS.items() if name in filters]
    return compiled(select(*_COLUMNS).where(*wanted).order_by(_t.id.desc()).limit(bindparam("count")))


def _payload(payload: bytes) -> bytes:
    return payload


def _job(*, rank: int, state: str, **columns: object) -> Job:
    return Job(priority=-rank, state=JobState(state), **columns)  # type: ignore[arg-type]  # as the table has them
