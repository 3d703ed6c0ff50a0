"""Jobs by the calendar: a row for each schedule, moved on in the commit that enqueues its job.

So of many processes that know a schedule one enqueues, and a crash loses no run and doubles none.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import structlog
from cronsim import CronSim
from sqlalchemy import Text, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from services.kernel.caller import Caller
from services.kernel.clock import Clock, SystemClock
from services.kernel.db import Database, Session, compiled
from services.kernel.errors import PlinthError
from services.kernel.jobs.enqueue import enqueue
from services.kernel.jobs.gate import SYSTEM
from services.kernel.jobs.model import NewJob
from services.kernel.jobs.tables import schedules

# A run that is late by no more than this was not missed.
_GRACE = timedelta(minutes=1)
_MOST_AT_ONCE = 100
_LONGEST_WAIT = 60.0
_RETRY_SECONDS = 1.0

_t = schedules.c
_LOCK = compiled(
    select(_t.name, _t.schedule, _t.next_time)
    .where(_t.name == func.any(bindparam("names", type_=ARRAY(Text))))
    .order_by(_t.name)
    .with_for_update(skip_locked=True)
)
_ADD = compiled(
    insert(schedules)
    .values(name=bindparam("name"), schedule=bindparam("schedule"), next_time=bindparam("next_time"))
    .on_conflict_do_nothing()
)
_MOVE_ON = compiled(
    update(schedules)
    .where(_t.name == bindparam("key"))
    .values(schedule=bindparam("schedule"), next_time=bindparam("next_time"))
)

_log = structlog.get_logger("plinth.cron")


class CatchUp(StrEnum):
    """What becomes of runs whose time passed while no worker was there."""

    SKIP = "skip"
    """Nothing: the next run is the next."""
    ONE = "one"
    """One run for all of them."""
    ALL = "all"
    """Each is made up for, in order."""


@dataclass(frozen=True, slots=True)
class CronJob:
    """A job to enqueue by a schedule of five fields, or of six with seconds first (`man 5 crontab`).

    `name` is the schedule's own, whatever its times and its job may become. The handler finds the time of the run in
    the attempt's `run_time`. Raises CronSimError or ZoneInfoNotFoundError for what is no schedule or no time zone.
    """

    name: str
    schedule: str
    queue: str
    kind: str
    catch_up: CatchUp = CatchUp.ONE
    payload: bytes = b""
    workspace_id: UUID | None = None
    time_zone: str = "UTC"
    zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "zone", ZoneInfo(self.time_zone))
        self.after(datetime.now(UTC))

    @property
    def stored(self) -> str:
        """As its row has it: a change of it begins anew."""
        return f"{self.schedule} {self.time_zone}"

    def after(self, moment: datetime) -> datetime:
        """The first time after the moment."""
        return next(CronSim(self.schedule, moment.astimezone(self.zone))).astimezone(UTC)

    def last_until(self, moment: datetime) -> datetime:
        """The last time that is not after the moment."""
        just_after = moment.astimezone(self.zone).replace(microsecond=0) + timedelta(seconds=1)
        return next(CronSim(self.schedule, just_after, reverse=True)).astimezone(UTC)

    def runs(self, due: datetime, now: datetime) -> tuple[list[datetime], datetime]:
        """The times to run for, when the next one was to be `due`; and the next one from there on."""
        if due > now:
            return [], due
        if self.catch_up is CatchUp.ALL:
            times = [due]
            while (following := self.after(times[-1])) <= now and len(times) < _MOST_AT_ONCE:
                times.append(following)
            return times, following
        last = max(due, self.last_until(now))
        missed = self.catch_up is CatchUp.SKIP and now - last > _GRACE
        return [] if missed else [last], self.after(now)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    schedule: str
    next_time: datetime


class Cron:
    """Enqueues what is due, on a thread of its own."""

    def __init__(self, database: Database, jobs: Iterable[CronJob], clock: Clock | None = None) -> None:
        self._database = database
        self._jobs = {job.name: job for job in jobs}
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plinth-cron", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is at hand."""
        self._stopping.set()
        self._thread.join()

    def tick(self) -> datetime | None:
        """Enqueue what is due; when something is due next, as far as other processes leave it to this one."""
        if not self._jobs:
            return None
        now = self._clock.now()
        with self._database.transaction(SYSTEM) as session:
            rows = session.all(_LOCK, _Row, names=list(self._jobs))
            times = [self._move_on(session, row, now) for row in rows]
            times += [
                self._add(session, job, now) for name, job in self._jobs.items() if name not in {r.name for r in rows}
            ]
            session.commit()
        return min(times, default=None)

    def _move_on(self, session: Session, row: _Row, now: datetime) -> datetime:
        job = self._jobs[row.name]
        if row.schedule == job.stored:
            runs, following = job.runs(row.next_time, now)
        else:
            runs, following = [], job.after(now)
        if (row.schedule, row.next_time) != (job.stored, following):
            session.run(_MOVE_ON, key=job.name, schedule=job.stored, next_time=following)
        if runs:
            new = [
                NewJob(job.queue, job.kind, job.payload, workspace_id=job.workspace_id, run_at=time) for time in runs
            ]
            caller = Caller(service=job.kind.partition(".")[0])
            enqueue(session, new, workspace_id=None, caller=caller, now=now)
        return following

    def _add(self, session: Session, job: CronJob, now: datetime) -> datetime:
        following = job.after(now)
        session.run(_ADD, name=job.name, schedule=job.stored, next_time=following)
        return following

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                due = self.tick()
                wait = _LONGEST_WAIT
                if due is not None:
                    wait = min(wait, max(0.0, (due - self._clock.now()).total_seconds()))
            except (PlinthError, psycopg.Error) as error:
                _log.warning("cron.failed", error=error)
                wait = _RETRY_SECONDS
