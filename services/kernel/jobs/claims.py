"""What a worker does to the rows of many jobs at once: claims them, renews their leases, says how they ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.kernel.jobs.attempt import Attempt, Hold
from services.kernel.jobs.gate import CLOCK_SKEW, RANKS, Limits, Marks
from services.kernel.jobs.model import KEPT, LEASE_EXPIRED, DeadReason, JobState, Lease, Settlement, first_fence

_SWEPT_AT_ONCE = 1_000

# First by rank, then by turn, from where nothing is left below. What of it was locked is told of: the marks must not
# pass it. How rows are found and locked: see the statement of the gate.
_TAKE = compiled(
    text("""
with candidates as materialized (
    select first.row, first.id, mark.rank, first.turn
    from unnest(cast(:ranks as smallint[]), cast(:turns as bigint[])) as mark (rank, turn)
    cross join lateral (
        select j.ctid as row, j.id, j.turn from jobs.jobs j
        where j.queue = :queue and j.state = 'ready' and j.rank = mark.rank and j.turn >= mark.turn
        order by j.turn limit :count
    ) first
    order by mark.rank, first.turn
    limit greatest(0, least(cast(:count as bigint), cast(:queue_limit as bigint) - (
        select count(*) from jobs.jobs
        where cast(:queue_limit as bigint) is not null
          and queue = :queue and state = 'running' and lease_time > :lost
    )))
), unlocked as materialized (
    select ctid as row from jobs.jobs
    where cast(:careful as boolean) and ctid = any(array(select row from candidates)) for update skip locked
), taken as (
    update jobs.jobs set state = 'running', attempt = attempt + 1, worker = :worker,
        fence = greatest(fence + 1, :fence), lease_time = :lease_time, start_time = :now
    where case state when 'ready' then true end and ctid = any(array(
        select row from candidates where not cast(:careful as boolean) union all select row from unlocked
    ))
    returning rank, turn, id, workspace_id, kind, subject, payload, attempt, max_attempts, fence, run_time, create_time,
        actor, traceparent, unique_key
)
select rank, turn, id as job_id, workspace_id, kind, subject, payload, attempt as number, max_attempts, fence,
    run_time, create_time, actor, traceparent, unique_key
from taken
union all
select rank, turn, null, null, '', '', '', 0, 0, 0, null, null, '', '', null
from candidates where id not in (select id from taken)
order by rank, turn
""")
)

# Successes that nobody wants to see, by far the most. The state is asked in a `case`, here and below, so that the
# planner does not think of the index of all that run, with all that ran while a transaction was held open.
_REMOVE = compiled(
    text("""
with given as materialized (
    select * from unnest(cast(:lanes as uuid[]), cast(:ids as uuid[]), cast(:fences as bigint[]))
    with ordinality as leases (lane, id, fence, place)
), removed as (
    delete from jobs.jobs using given where jobs.lane = given.lane and jobs.id = given.id
    and case jobs.state when 'running' then jobs.fence end = given.fence
    returning place
)
select place from given where place not in (select place from removed)
""")
)
# The same, past rows that are locked.
_REMOVE_CAREFULLY = compiled(
    text("""
with given as materialized (
    select * from unnest(cast(:lanes as uuid[]), cast(:ids as uuid[]), cast(:fences as bigint[]))
    with ordinality as leases (lane, id, fence, place)
), unlocked as materialized (
    select jobs.ctid as row, place from given join jobs.jobs on jobs.lane = given.lane and jobs.id = given.id
    where case jobs.state when 'running' then jobs.fence end = given.fence for update of jobs skip locked
), removed as (
    delete from jobs.jobs using unlocked where jobs.ctid = unlocked.row returning place
)
select place from given where place not in (select place from removed)
""")
)
_SETTLE = compiled(
    text("""
update jobs.jobs set
    state = ended.state,
    arrival = pg_current_xact_id(),
    attempt = attempt - case when ended.counted then 0 else 1 end,
    run_time = coalesce(ended.run_time, jobs.run_time),
    lease_time = null,
    dead_reason = case when ended.state = 'dead' then ended.reason else '' end,
    last_error = coalesce(nullif(ended.error, ''), jobs.last_error),
    end_time = case when ended.state <> 'arrived' then cast(:now as timestamptz) end,
    expire_time = case when ended.state = 'cancelled' then cast(:cancelled_until as timestamptz)
        else ended.keep_until end
from (
    select jobs.ctid as row, place, given.run_time, reason, error, keep_until, counted,
        case when cancel_requested and given.state <> 'succeeded' then 'cancelled' else given.state end as state
    from unnest(
        cast(:lanes as uuid[]), cast(:ids as uuid[]), cast(:fences as bigint[]), cast(:states as text[]),
        cast(:run_times as timestamptz[]), cast(:reasons as text[]), cast(:errors as text[]),
        cast(:keeps as timestamptz[]), cast(:counted as boolean[])
    ) with ordinality as given (lane, id, fence, state, run_time, reason, error, keep_until, counted, place)
    join jobs.jobs on jobs.lane = given.lane and jobs.id = given.id
    where case jobs.state when 'running' then jobs.fence end = given.fence for update of jobs skip locked
) ended
where jobs.ctid = ended.row
returning place, jobs.state
""")
)
_HELD = compiled(
    text("""
select place, cancel_requested
from unnest(cast(:lanes as uuid[]), cast(:ids as uuid[]), cast(:fences as bigint[]))
    with ordinality as given (lane, id, fence, place)
join jobs.jobs on jobs.lane = given.lane and jobs.id = given.id
where case jobs.state when 'running' then jobs.fence end = given.fence
""")
)
_RENEW = compiled(
    text("""
update jobs.jobs set lease_time = :lease_time where ctid = any(array(
    select jobs.ctid
    from unnest(cast(:lanes as uuid[]), cast(:ids as uuid[]), cast(:fences as bigint[])) as given (lane, id, fence)
    join jobs.jobs on jobs.lane = given.lane and jobs.id = given.id
    where case jobs.state when 'running' then jobs.fence end = given.fence for update of jobs skip locked
))
""")
)
_EXPIRE = compiled(
    text("""
update jobs.jobs set
    state = case when cancel_requested then 'cancelled' when attempt >= max_attempts then 'dead' else 'arrived' end,
    arrival = pg_current_xact_id(),
    run_time = :now,
    lease_time = null,
    dead_reason = case when not cancel_requested and attempt >= max_attempts then :reason else '' end,
    last_error = :error,
    end_time = case when cancel_requested or attempt >= max_attempts then cast(:now as timestamptz) end,
    expire_time = case when cancel_requested then cast(:cancelled_until as timestamptz) end
where ctid = any(array(
    select ctid from jobs.jobs
    where queue = any(cast(:queues as text[])) and state = 'running' and lease_time > :after and lease_time <= :now
    limit :count for update skip locked
))
returning queue, kind, state
""")
)
_OVERDUE = compiled(
    text(
        "select 1 from jobs.jobs where queue = any(cast(:queues as text[])) and state = 'running'"
        " and lease_time > :after and lease_time <= :until limit 1"
    )
)


@dataclass(frozen=True, slots=True)
class _Held:
    place: int
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class _Ended:
    place: int
    state: str


@dataclass(frozen=True, slots=True)
class Expired:
    """A job whose worker was not heard of until its lease ran out, and what became of it."""

    queue: str
    kind: str
    state: str


def take(
    session: Session,
    queue: str,
    marks: Marks,
    limits: Limits,
    hold: Callable[[str], Hold],
    *,
    count: int,
    worker: str,
    now: datetime,
    lease_time: datetime,
    careful: bool,
) -> tuple[list[Attempt], Marks]:
    """Claim up to `count` jobs that are ready, in their order, under the queue's lock; and the marks after a commit.

    `hold` makes what an attempt at a job of that kind is held by.
    """
    turns, locked = dict(zip(RANKS, marks.turns, strict=True)), set[int]()

    def attempt(*, rank: int, turn: int, job_id: UUID | None, kind: str, **columns: Any) -> Attempt | None:
        if job_id is None:
            locked.add(rank)
            return None
        if rank not in locked:
            turns[rank] = turn
        return Attempt(job_id=job_id, kind=kind, queue=queue, hold=hold(kind), **columns)

    rows = session.all(
        _TAKE,
        attempt,
        queue=queue,
        ranks=list(RANKS),
        turns=marks.turns,
        count=count,
        queue_limit=limits.queue,
        worker=worker,
        fence=first_fence(now),
        now=now,
        lease_time=lease_time,
        lost=now - CLOCK_SKEW,
        careful=careful,
    )
    return [row for row in rows if row is not None], Marks(marks.seen, marks.due, list(turns.values()))


def settle(
    session: Session, settlements: Sequence[Settlement], *, now: datetime, careful: bool
) -> list[JobState | None]:
    """Say how attempts ended; for each what became of its job, None where its fence no longer held.

    `careful`: None also where somebody has locked the row; `held` tells which. Raises ConcurrentUpdate otherwise.
    """
    gone = [place for place, one in enumerate(settlements) if one.state is JobState.SUCCEEDED and not one.keep_until]
    kept = [place for place, one in enumerate(settlements) if one.state is not JobState.SUCCEEDED or one.keep_until]
    states: list[JobState | None] = [JobState.SUCCEEDED] * len(settlements)
    if gone:
        remove = _REMOVE_CAREFULLY if careful else _REMOVE
        for place in session.all(remove, _only, **_columns([settlements[place].lease for place in gone])):
            states[gone[place - 1]] = None
    if kept:
        ended = _settle_kept(session, [settlements[place] for place in kept], now)
        for place in kept:
            states[place] = None
        for row in ended:
            states[kept[row.place - 1]] = JobState(row.state)
    return states


def _settle_kept(session: Session, kept: Sequence[Settlement], now: datetime) -> list[_Ended]:
    return session.all(
        _SETTLE,
        _Ended,
        **_columns([one.lease for one in kept]),
        states=[one.state.value for one in kept],
        run_times=[one.run_time for one in kept],
        reasons=[one.reason for one in kept],
        errors=[one.error for one in kept],
        keeps=[one.keep_until for one in kept],
        counted=[one.counted for one in kept],
        now=now,
        cancelled_until=now + KEPT,
    )


def held(session: Session, leases: Sequence[Lease]) -> list[bool | None]:
    """For each lease whether somebody wants its job cancelled; None where it no longer holds."""
    answer: list[bool | None] = [None] * len(leases)
    for row in session.all(_HELD, _Held, **_columns(leases)):
        answer[row.place - 1] = row.cancel_requested
    return answer


def renew(session: Session, leases: Sequence[Lease], lease_time: datetime) -> list[bool | None]:
    """Heartbeat: make leases last until then. Answers as `held` does."""
    session.run(_RENEW, **_columns(leases), lease_time=lease_time)
    return held(session, leases)


def expire(
    session: Session, queues: Sequence[str], *, after: datetime, now: datetime
) -> tuple[list[Expired], datetime]:
    """Take jobs back whose lease ran out after `after`: for another attempt, if they have one left.

    Answers also after when to look the next time: as before where some are left, being locked or too many at once.
    """
    expired = session.all(
        _EXPIRE,
        Expired,
        queues=list(queues),
        after=after,
        now=now,
        count=_SWEPT_AT_ONCE,
        reason=DeadReason.LEASE_EXPIRED.value,
        error=LEASE_EXPIRED,
        cancelled_until=now + KEPT,
    )
    passed = now - CLOCK_SKEW
    left = session.run(_OVERDUE, queues=list(queues), after=after, until=passed)
    return expired, after if left else passed


def _only(place: int) -> int:
    return place


def _columns(leases: Sequence[Lease]) -> dict[str, arrays.Column]:
    return {
        "lanes": arrays.uuids([one.lane for one in leases]),
        "ids": arrays.uuids([one.job_id for one in leases]),
        "fences": arrays.bigints([one.fence for one in leases]),
    }
