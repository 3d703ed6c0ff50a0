"""Adding jobs in somebody else's commit, under somebody else's role."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel import arrays
from services.kernel.caller import Caller
from services.kernel.db import Session, compiled
from services.kernel.errors import ConcurrentUpdate
from services.kernel.ids import new_id
from services.kernel.jobs.model import DeadReason, JobState, NewJob, lane_of
from services.kernel.jobs.tables import LIVE, jobs

_t = jobs.c
# Columns of a new row that differ from job to job, and those that all jobs of one call share.
_EACH = ("id", "workspace_id", "queue", "kind", "subject", "payload", "rank", "max_attempts", "run_time", "restricted")
_ALL = ("actor", "traceparent", "create_time")
_given = (
    func.unnest(*(bindparam(name, type_=ARRAY(_t[name].type)) for name in _EACH)).table_valued(*_EACH).render_derived()
)
_ADD_MANY = compiled(
    insert(jobs).from_select(
        [*_EACH, *_ALL],
        select(*(_given.c[name] for name in _EACH), *(bindparam(name, type_=_t[name].type) for name in _ALL)),
        include_defaults=False,
    )
)
# Arrays of one element cost the client more than half as much again.
_ADD_ONE = compiled(insert(jobs).values({name: bindparam(name) for name in (*_EACH, *_ALL)}).inline())
_ADD_UNIQUE = compiled(
    upsert(jobs)
    .values({name: bindparam(name) for name in (*_EACH, *_ALL, "unique_key")})
    .on_conflict_do_nothing(
        index_elements=[_t.lane, _t.kind, _t.unique_key],
        index_where=_t.unique_key.is_not(None) & LIVE,
    )
    .inline()
)
_HOLDER = compiled(
    select(_t.id).where(
        _t.lane == bindparam("lane"),
        _t.kind == bindparam("kind"),
        _t.unique_key == bindparam("unique_key"),
        LIVE,
    )
)
_BURY = compiled(
    insert(jobs)
    .values(
        {name: bindparam(name) for name in (*_EACH, *_ALL)}
        | {name: bindparam(name) for name in ("state", "attempt", "dead_reason", "last_error", "end_time")}
    )
    .inline()
)
# A holder of the key that ends in between lets the next try in; more in a row is somebody else's livelock.
_TRIES = 5


def enqueue(
    session: Session, new: Sequence[NewJob], *, workspace_id: UUID | None, caller: Caller, now: datetime
) -> list[UUID]:
    """Add jobs, in their order, for the workspace given or the one that a job states; their ids.

    Where a live job holds the unique key already, its id comes in place of a new one's. Raises ConcurrentUpdate where
    holders of the key come and go faster than it can be said which.
    """
    ids = [new_id() for _ in new]
    many = [(job_id, job) for job_id, job in zip(ids, new, strict=True) if job.unique_key is None]
    if len(many) == 1:
        [(job_id, job)] = many
        session.run(_ADD_ONE, **_columns(job_id, job, workspace_id, caller, now))
    elif many:
        session.run(
            _ADD_MANY,
            id=arrays.uuids([job_id for job_id, _ in many]),
            workspace_id=arrays.uuids([job.workspace_id or workspace_id for _, job in many]),
            queue=arrays.texts([job.queue for _, job in many]),
            kind=arrays.texts([job.kind for _, job in many]),
            subject=arrays.texts([job.subject for _, job in many]),
            payload=arrays.blobs([job.data() for _, job in many]),
            rank=arrays.smallints([-job.priority for _, job in many]),
            max_attempts=arrays.integers([job.max_attempts for _, job in many]),
            run_time=arrays.moments([job.run_at or now for _, job in many]),
            restricted=arrays.booleans([job.restricted for _, job in many]),
            actor=caller.principal,
            traceparent=caller.traceparent,
            create_time=now,
        )
    for position, job in enumerate(new):
        if job.unique_key is not None:
            ids[position] = _add_unique(session, ids[position], job, workspace_id, caller, now)
    return ids


def bury(
    session: Session,
    job: NewJob,
    *,
    reason: DeadReason,
    error: str,
    workspace_id: UUID | None,
    caller: Caller,
    now: datetime,
) -> UUID:
    """Add a job that is dead already: work that failed elsewhere, for somebody to requeue; its id."""
    job_id = new_id()
    session.run(
        _BURY,
        **_columns(job_id, replace(job, unique_key=None), workspace_id, caller, now),
        state=JobState.DEAD.value,
        attempt=job.max_attempts,
        dead_reason=reason.value,
        last_error=error,
        end_time=now,
    )
    return job_id


def _holder(session: Session, lane: UUID, kind: str, unique_key: str | None) -> UUID | None:
    """The live job that holds the key."""
    return session.first(_HOLDER, _only, lane=lane, kind=kind, unique_key=unique_key)


def _add_unique(
    session: Session, job_id: UUID, job: NewJob, workspace_id: UUID | None, caller: Caller, now: datetime
) -> UUID:
    columns = _columns(job_id, job, workspace_id, caller, now)
    for _ in range(_TRIES):
        if session.run(_ADD_UNIQUE, **columns, unique_key=job.unique_key) == 1:
            return job_id
        found = _holder(session, lane_of(job.workspace_id or workspace_id), job.kind, job.unique_key)
        if found is not None:
            return found
    raise ConcurrentUpdate


def _only(id: UUID) -> UUID:
    return id


def _columns(job_id: UUID, job: NewJob, workspace_id: UUID | None, caller: Caller, now: datetime) -> dict[str, object]:
    return {
        "id": job_id,
        "workspace_id": job.workspace_id or workspace_id,
        "queue": job.queue,
        "kind": job.kind,
        "subject": job.subject,
        "payload": job.data(),
        "rank": -job.priority,
        "max_attempts": job.max_attempts,
        "run_time": job.run_at or now,
        "restricted": job.restricted,
        "actor": caller.principal,
        "traceparent": caller.traceparent,
        "create_time": now,
    }
