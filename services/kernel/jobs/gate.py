"""The gate: every job that comes or comes back passes it, and gets its turn among the others of its queue there.

Turns are start-time fair queueing (Goyal, Vin, Cheng 1996) with a cost of one a job. A lane, which is a workspace, has
turns from where the queue is, or from its own last one on: so whoever comes late stands beside the first of those who
queue already, however many jobs they have.

Reading must cost what there is to read, and not what has been done already: while some transaction is held open, even
in another database, PostgreSQL cannot clear the index entries of rows that are gone, and whoever looks for the first
job that is left walks over all of them. So each worker remembers marks below which nothing can live any more:

- Arrivals are indexed by the transaction that brought them. What was visible in the snapshot of a pass has passed, so
  the next pass looks at what that snapshot did not see: transactions that were under way, or had not begun.
- Only the gate gives turns, and never one below the first that is ready; when nothing is, one above all ever given.
- Only the gate schedules, and never for a moment that has passed.

Claims and gate hold the queue's lock, so all of this happens one after the other. A mark is a worker's own memory and
nothing hangs on it: without marks a pass sees everything.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Integer, bindparam, func, literal, select, text

from services.kernel.db import Scope, Session, compiled
from services.kernel.jobs.model import MAX_PRIORITY

SYSTEM = Scope("plinth_jobs_system")
RANKS = tuple(range(-MAX_PRIORITY, MAX_PRIORITY + 1))
_LOCK_CLASS = 0x4A4F4253
_CHUNK = 5_000
_PASSES = 10
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# As far apart the clocks of workers may be, and as long a transaction may take (`transaction_timeout` of the login).
CLOCK_SKEW = timedelta(minutes=1)

# Plans must not hang on how full the tables were when they were last counted: it is always the index. And a worker's
# commits need not wait for the disk: what a crash of the database undoes is done again, as after a crash of the worker.
# Whoever holds a queue's lock and falls silent lets the queue go on without it.
_SETTINGS = (
    func.set_config("enable_seqscan", "off", True),
    func.set_config("enable_hashjoin", "off", True),
    func.set_config("enable_mergejoin", "off", True),
    func.set_config("plan_cache_mode", "force_generic_plan", True),
    func.set_config("synchronous_commit", "off", True),
    func.set_config("idle_in_transaction_session_timeout", "5s", True),
)
_PREPARE = compiled(select(*_SETTINGS))
# Other workers let go soon. Whoever else has locked a row may take long: better to go round it.
_LOCK = compiled(
    select(
        *_SETTINGS,
        func.pg_advisory_xact_lock(literal(_LOCK_CLASS, Integer), func.hashtext(bindparam("queue"))),
        func.set_config("lock_timeout", "100ms", True),
    )
)

# To go round rows that somebody else has locked, e.g. to cancel them, every row has to be locked first, which costs as
# much again; so it is done only when `careful`. Where such rows stay, so do the marks. A row is found once, by its
# index, and from then on by its place in the table; one that changes meanwhile has another place, or fails its state.
_PASS = compiled(
    text("""
with incoming as materialized (
    (select ctid as row, id, lane, rank, run_time from jobs.jobs
     where queue = :queue and state = 'arrived' and arrival >= pg_snapshot_xmax(cast(:seen as pg_snapshot))
     order by arrival limit :chunk)
    union all
    (select ctid, id, lane, rank, run_time from jobs.jobs
     where queue = :queue and state = 'arrived'
       and arrival = any(array(select pg_snapshot_xip(cast(:seen as pg_snapshot))))
     limit :chunk)
    union all
    (select ctid, id, lane, rank, run_time from jobs.jobs
     where queue = :queue and state = 'scheduled' and run_time > :due and run_time <= :now
     order by run_time limit :chunk)
    union all
    -- Who waits for room under a limit that is no more.
    (select ctid, id, lane, rank, run_time from jobs.jobs
     where queue = :queue and state = 'waiting' and cast(:workspace_limit as integer) is null
     limit :chunk)
), unlocked as materialized (
    select ctid as row from jobs.jobs
    where cast(:careful as boolean) and ctid = any(array(select row from incoming))
    for update skip locked
), passing as materialized (
    select row, id, lane, rank, run_time <= :now as is_due, nextval('jobs.turns') as ticket
    from incoming where not cast(:careful as boolean) or row in (select row from unlocked)
), heads as materialized (
    select mark.rank, coalesce(
        (select j.turn from jobs.jobs j
         where j.queue = :queue and j.state = 'ready' and j.rank = mark.rank and j.turn >= mark.turn
         order by j.turn limit 1),
        (select min(ticket) from passing)
    ) as turn
    from unnest(cast(:ranks as smallint[]), cast(:turns as bigint[])) as mark (rank, turn)
), busy as materialized (
    select lane, count(*) as jobs from (
        select lane from jobs.jobs
        where queue = :queue and state = 'running' and lease_time > :lost
        union all
        select j.lane from heads join jobs.jobs j
        on j.queue = :queue and j.state = 'ready' and j.rank = heads.rank and j.turn >= heads.turn
    ) under_way
    where cast(:workspace_limit as integer) is not null
    group by lane
), lined_up as materialized (
    select row, id, lane, rank, is_due,
        row_number() over of_lane_and_rank - 1 as place,
        row_number() over (partition by is_due, lane order by rank, id) as place_in_lane,
        -- Once for each lane: the rows after its first have it from there.
        case when row_number() over of_lane_and_rank = 1 then coalesce(
            (select j.turn + 1 from jobs.jobs j
             where j.queue = :queue and j.state = 'ready' and j.rank = passing.rank and j.lane = passing.lane
               and j.turn >= (select turn from heads where heads.rank = passing.rank)
             order by j.turn desc limit 1),
            (select turn from heads where heads.rank = passing.rank)
        ) end as first_turn,
        case when row_number() over (partition by is_due, lane order by rank, id) = 1 then
            cast(:workspace_limit as integer)
            - coalesce((select jobs from busy where busy.lane = passing.lane), 0)
        end as room
    from passing
    window of_lane_and_rank as (partition by is_due, lane, rank order by id)
), placed as materialized (
    select row, is_due, place + max(first_turn) over (partition by is_due, lane, rank) as turn,
        coalesce(place_in_lane <= max(room) over (partition by is_due, lane), true) as has_room
    from lined_up
), moved as (
    update jobs.jobs set
        state = case when not is_due then 'scheduled' when has_room then 'ready' else 'waiting' end,
        turn = case when is_due and has_room then placed.turn end
    from placed
    where jobs.ctid = placed.row and case when jobs.state in ('arrived', 'scheduled', 'waiting') then true end
    returning 1
)
select (select count(*) from incoming) as incoming, (select count(*) from moved) as passed,
    cast(pg_current_snapshot() as text) as seen
""")
)

# Lanes that wait are few, each found by the index from the one before it.
_LET_IN = compiled(
    text("""
with recursive lanes as (
    (select lane from jobs.jobs where queue = :queue and state = 'waiting' order by lane limit 1)
    union all
    select (select j.lane from jobs.jobs j
            where j.queue = :queue and j.state = 'waiting' and j.lane > lanes.lane order by j.lane limit 1)
    from lanes where lanes.lane is not null
), busy as materialized (
    select lane, count(*) as jobs from (
        select lane from jobs.jobs where queue = :queue and state = 'running' and lease_time > :lost
        union all
        select j.lane from unnest(cast(:ranks as smallint[]), cast(:turns as bigint[])) as mark (rank, turn)
        join jobs.jobs j
        on j.queue = :queue and j.state = 'ready' and j.rank = mark.rank and j.turn >= mark.turn
    ) under_way group by lane
), chosen as materialized (
    select chosen.row from lanes cross join lateral (
        select j.ctid as row from jobs.jobs j where j.queue = :queue and j.state = 'waiting' and j.lane = lanes.lane
        order by j.rank, j.id
        limit greatest(0, :workspace_limit - coalesce((select jobs from busy where busy.lane = lanes.lane), 0))
    ) chosen
    where lanes.lane is not null
)
update jobs.jobs set state = 'arrived', arrival = pg_current_xact_id()
where ctid = any(array(
    select ctid from jobs.jobs
    where ctid = any(array(select row from chosen)) and case state when 'waiting' then true end for update skip locked
))
""")
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs may be under way: in the queue, and for each workspace in it; None: as many as workers take."""

    queue: int | None = None
    workspace: int | None = None


@dataclass(slots=True)
class Marks:
    """Below these a worker need not look in one queue: a snapshot that has passed, a moment, a turn of each rank."""

    seen: str = "1:1:"
    due: datetime = LONG_AGO
    turns: list[int] = field(default_factory=lambda: [0] * len(RANKS))


@dataclass(frozen=True, slots=True)
class _Passed:
    incoming: int
    passed: int
    seen: str


def prepare(session: Session) -> None:
    """Begin a transaction of a worker: what `gate` and `claims` do belongs into such a one."""
    session.run(_PREPARE)


def lock(session: Session, queue: str) -> None:
    """Begin a transaction of a worker that has the queue to itself until the commit.

    Raises ConcurrentUpdate when that is not to be had for long; from then on also whatever meets a locked row does.
    """
    session.run(_LOCK, queue=queue)


def pass_arrivals(
    session: Session, queue: str, marks: Marks, limits: Limits, *, now: datetime, careful: bool
) -> tuple[Marks, bool]:
    """Let everybody through who has come since the marks, under the queue's lock; `careful`: past locked rows.

    Answers the marks as they are once the session commits, and whether more were coming than one call lets through.
    """
    if limits.workspace is not None:
        session.run(
            _LET_IN,
            queue=queue,
            ranks=list(RANKS),
            turns=marks.turns,
            workspace_limit=limits.workspace,
            lost=now - CLOCK_SKEW,
        )
    for _ in range(_PASSES):
        done = session.first(
            _PASS,
            _Passed,
            queue=queue,
            seen=marks.seen,
            due=marks.due,
            now=now,
            lost=now - CLOCK_SKEW,
            chunk=_CHUNK,
            careful=careful,
            ranks=list(RANKS),
            turns=marks.turns,
            workspace_limit=limits.workspace,
        )
        if done is None:
            raise LookupError("a select without `from` has one row")
        if done.incoming < _CHUNK:
            complete = done.passed == done.incoming
            return (Marks(done.seen, now - CLOCK_SKEW, marks.turns) if complete else marks), False
        if done.passed == 0:
            return marks, False
    return marks, True
