"""When a worker with nothing to do looks again, and how those who enqueue wake it before.

After a look that found nothing the next one comes later, twice as long each time; so a job that no one told of is found
when it has waited about as long as its transaction took. Once the pauses are long enough to matter, the worker leaves a
row for each queue that says so, and whoever enqueues there notifies it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from services.kernel.db import Session, compiled
from services.kernel.jobs.gate import CLOCK_SKEW, RANKS, Marks

FIRST_PAUSE = 0.005
LONGEST_PAUSE = 10.0
# Shorter pauses are not worth two statements, nor a notification in each commit meanwhile.
ASLEEP_FROM = 0.04
# A sleeper's row outlasts the sleep, so that it is written seldom.
ROW_SECONDS = 60.0

_GO_TO_SLEEP = compiled(
    text("""
insert into jobs.sleepers (queue, until, worker)
select queue, clock_timestamp() + make_interval(secs => :seconds), :worker from unnest(cast(:queues as text[])) as queue
""")
)
_GET_UP = compiled(
    text(
        "delete from jobs.sleepers where queue = any(cast(:queues as text[])) and worker = :worker"
        " and until > clock_timestamp()"
    )
)
_SWEEP = compiled(text("delete from jobs.sleepers where until < clock_timestamp()"))
_LOOK = compiled(
    text("""
select looked.queue, exists (
        select from jobs.jobs j where j.queue = looked.queue and j.state = 'arrived'
        and j.arrival >= pg_snapshot_xmax(cast(seen as pg_snapshot))
    ) or exists (
        select from jobs.jobs j where j.queue = looked.queue and j.state = 'arrived'
        and j.arrival = any(array(select pg_snapshot_xip(cast(seen as pg_snapshot))))
    ) or exists (
        select from unnest(cast(:ranks_of as text[]), cast(:ranks as smallint[]), cast(:turns as bigint[]))
            as mark (queue, rank, turn)
        cross join lateral (
            select from jobs.jobs j where j.queue = mark.queue and j.state = 'ready' and j.rank = mark.rank
            and j.turn >= mark.turn limit 1
        ) ready
        where mark.queue = looked.queue
    ) or exists (
        -- Another worker may have made room, and have no thread free to use it.
        select from jobs.jobs j where j.queue = looked.queue and j.state = 'waiting'
    ) as has_work,
    (select min(j.run_time) from jobs.jobs j
     where j.queue = looked.queue and j.state = 'scheduled' and j.run_time > looked.due) as next_due,
    (select min(j.lease_time) from jobs.jobs j
     where j.queue = looked.queue and j.state = 'running' and j.lease_time > :expired) as next_expiry
from unnest(cast(:queues as text[]), cast(:seens as text[]), cast(:dues as timestamptz[])) as looked (queue, seen, due)
""")
)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at one queue found: work that is there, and when some may be without anybody telling."""

    queue: str
    has_work: bool
    next_due: datetime | None
    next_expiry: datetime | None


def look(session: Session, marks: dict[str, Marks], *, now: datetime) -> list[Look]:
    """Look at queues, from the marks of each on."""
    queues = list(marks)
    return session.all(
        _LOOK,
        Look,
        queues=queues,
        seens=[marks[queue].seen for queue in queues],
        dues=[marks[queue].due for queue in queues],
        ranks_of=[queue for queue in queues for _ in RANKS],
        ranks=[rank for _ in queues for rank in RANKS],
        turns=[turn for queue in queues for turn in marks[queue].turns],
        expired=now - CLOCK_SKEW,
    )


def go_to_sleep(session: Session, queues: Sequence[str], worker: str) -> None:
    """From the commit on, whoever enqueues there notifies; look once more after it."""
    session.run(_GO_TO_SLEEP, queues=list(queues), worker=worker, seconds=ROW_SECONDS)


def get_up(session: Session, queues: Sequence[str], worker: str) -> None:
    """From the commit on, nobody need notify this worker of these queues."""
    session.run(_GET_UP, queues=list(queues), worker=worker)


def sweep(session: Session) -> int:
    """Delete the rows of sleeps that are over; how many."""
    return session.run(_SWEEP)
