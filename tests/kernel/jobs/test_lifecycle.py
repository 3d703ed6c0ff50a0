"""The life of a job, in any order of events: what the rows become is what the pure model says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from psycopg.errors import UniqueViolation

from services.kernel.clock import FrozenClock
from services.kernel.db import Database
from services.kernel.ids import new_id
from services.kernel.jobs import DeadReason, Job, JobState, NewJob, claims, gate
from services.kernel.jobs.gate import SYSTEM
from services.kernel.jobs.model import Lease, Settlement
from tests.kernel.jobs import model
from tests.kernel.jobs.conftest import LEASE, Bench, Hand

_WORKSPACES = (None, new_id(), new_id())
_PICKS = st.integers(0, 9)


class JobLife(RuleBasedStateMachine):
    """Two workers, three lanes, a few jobs; `jobs` is what the model says they are.

    Which of two jobs with equal turns goes first is nobody's promise, so what is drawn must not hang on it: jobs and
    leases are picked by number.
    """

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
        self.bench = Bench(self.database, self.clock)
        self.hands = (Hand(self.bench), Hand(self.bench))
        self.jobs: dict[UUID, Job] = {}
        self.leases: list[Lease] = []

    @rule(
        workspace=st.sampled_from(_WORKSPACES),
        priority=st.sampled_from((0, 0, 0, 2, -2)),
        max_attempts=st.integers(1, 3),
        delay=st.sampled_from((0, 0, 20)),
        key=st.sampled_from((None, None, "a", "b")),
    )
    def enqueue(self, workspace: UUID | None, priority: int, max_attempts: int, delay: int, key: str | None) -> None:
        now = self.clock.now()
        new = self.bench.new(
            workspace_id=workspace,
            priority=priority,
            max_attempts=max_attempts,
            run_at=now + timedelta(seconds=delay) if delay else None,
            unique_key=f"{self.bench.queue}-{key}" if key else None,
        )
        [found] = self.bench.add(new)
        holder = self._holder(new)
        if holder is not None:
            assert found == holder.id
        else:
            assert found not in self.jobs
            self.jobs[found] = _fresh(found, new, now)

    @rule(hand=st.integers(0, 1), count=st.integers(1, 4), careful=st.booleans())
    def claim(self, hand: int, count: int, careful: bool) -> None:
        now = self.clock.now()
        ready = [job for job in self.jobs.values() if job.state.queued and job.run_time <= now]
        rows = self.hands[hand].claim(count, careful=careful)
        assert len(rows) == min(count, len(ready)), "a job that could run was not found"
        claimed = [self.jobs[row.job_id] for row in rows]
        assert all(job in ready for job in claimed)
        assert [job.priority for job in claimed] == sorted((job.priority for job in ready), reverse=True)[:count]
        for row, job in zip(rows, claimed, strict=True):
            self.jobs[job.id] = model.claim(job, lease_time=now + LEASE, now=now)
            assert (row.fence, row.number) == (self.jobs[job.id].fence, self.jobs[job.id].attempt)
            self.leases.append(row.lease)

    @rule(pick=_PICKS)
    def heartbeat(self, pick: int) -> None:
        held = self._held(pick)
        if held is None:
            return
        until = self.clock.now() + LEASE
        with self.database.transaction(SYSTEM) as session:
            gate.prepare(session)
            answer = claims.renew(session, [held], until)
            session.commit()
        job = self.jobs.get(held.job_id)
        if job is not None and model.holds(job, held.fence):
            assert answer == [job.cancel_requested]
            self.jobs[job.id] = replace(job, lease_time=until)
        else:
            assert answer == [None]

    @rule(pick=_PICKS, keep=st.booleans(), careful=st.booleans())
    def succeed(self, pick: int, keep: bool, careful: bool) -> None:
        until = self.clock.now() + timedelta(days=1)
        if held := self._held(pick):
            self._settle(Settlement(held, JobState.SUCCEEDED, keep_until=until if keep else None), careful=careful)

    @rule(pick=_PICKS, seconds=st.sampled_from((0, 5, 50)), counted=st.booleans())
    def fail(self, pick: int, seconds: int, counted: bool) -> None:
        later = self.clock.now() + timedelta(seconds=seconds)
        if held := self._held(pick):
            self._settle(Settlement(held, JobState.ARRIVED, run_time=later, error="no luck", counted=counted))

    @rule(pick=_PICKS)
    def give_up(self, pick: int) -> None:
        if held := self._held(pick):
            self.leases.remove(held)
            self._settle(Settlement(held, JobState.DEAD, reason=DeadReason.PERMANENT, error="never"))

    @rule(seconds=st.sampled_from((0, 1, 31, 31, 100)))
    def time_passes_and_leases_expire(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))
        now = self.clock.now()
        expired = self.bench.expire()
        before = list(self.jobs.values())
        for job in before:
            self.jobs[job.id] = model.expire(job, now=now)
        assert len(expired) == sum(self.jobs[job.id] != job for job in before)

    @rule(seconds=st.sampled_from((1, 10)))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule(pick=_PICKS)
    def cancel(self, pick: int) -> None:
        self._cancel(self._pick(pick))

    @rule(pick=_PICKS)
    def cancel_what_was_claimed(self, pick: int) -> None:
        if held := self._held(pick):
            self._cancel(self.jobs.get(held.job_id))

    @rule(pick=_PICKS)
    def requeue(self, pick: int) -> None:
        job = self._pick(pick)
        if job is not None and job.state in (JobState.DEAD, JobState.CANCELLED):
            try:
                with self.bench.manage() as repository:
                    repository.requeue(job, self.clock.now())
            except UniqueViolation:
                assert self._holder(job) is not None
            else:
                assert self._holder(job) is None
                self.jobs[job.id] = model.requeue(job, now=self.clock.now())

    @rule(pick=_PICKS)
    def discard(self, pick: int) -> None:
        job = self._pick(pick)
        if job is not None and job.state is JobState.DEAD:
            with self.bench.manage() as repository:
                repository.discard(job.workspace_id, job.id, self.clock.now())
            self.jobs[job.id] = model.discard(job, now=self.clock.now())

    @invariant()
    def the_rows_are_what_the_model_says(self) -> None:
        with self.bench.manage() as repository:
            rows = {job.id: repository.get(job.workspace_id, job.id) for job in self.jobs.values()}
        for found, job in self.jobs.items():
            row = rows[found]
            assert row is not None
            assert _shown(row) == _shown(job)

    def _cancel(self, job: Job | None) -> None:
        if job is not None:
            with self.bench.manage() as repository:
                repository.cancel(job.workspace_id, job.id, self.clock.now())
            self.jobs[job.id] = model.cancel(job, now=self.clock.now())

    def _settle(self, settlement: Settlement, *, careful: bool = False) -> None:
        answer = self.bench.settle(settlement, careful=careful)
        job = self.jobs.get(settlement.lease.job_id)
        if job is None or not model.holds(job, settlement.lease.fence):
            assert answer == [None], "an old fence was heeded"
            return
        after = model.settle(job, settlement, now=self.clock.now())
        if after is None:
            assert answer == [JobState.SUCCEEDED]
            assert self.bench.get(job.id, job.workspace_id) is None
            del self.jobs[job.id]
        else:
            assert answer == [after.state]
            self.jobs[job.id] = after

    def _holder(self, wanted: NewJob | Job) -> Job | None:
        if wanted.unique_key is None:
            return None
        key = (wanted.workspace_id, wanted.kind, wanted.unique_key)
        live = [job for job in self.jobs.values() if job.state.live]
        return next((job for job in live if (job.workspace_id, job.kind, job.unique_key) == key), None)

    def _held(self, number: int) -> Lease | None:
        return self.leases[number % len(self.leases)] if self.leases else None

    def _pick(self, number: int) -> Job | None:
        jobs = list(self.jobs.values())
        return jobs[number % len(jobs)] if jobs else None


def _fresh(found: UUID, new: NewJob, now: datetime) -> Job:
    return Job(
        id=found,
        workspace_id=new.workspace_id,
        queue=new.queue,
        kind=new.kind,
        subject="",
        priority=new.priority,
        state=JobState.ARRIVED,
        unique_key=new.unique_key,
        attempt=0,
        max_attempts=new.max_attempts,
        fence=0,
        cancel_requested=False,
        dead_reason="",
        last_error="",
        actor="services/test",
        restricted=new.restricted,
        create_time=now,
        run_time=new.run_at or now,
        lease_time=None,
        start_time=None,
        end_time=None,
    )


def _shown(job: Job) -> Job:
    """Where a job waits is the gate's business."""
    return replace(job, state=JobState.ARRIVED) if job.state.queued else job


def test_the_rows_follow_the_model_whatever_happens(database: Database) -> None:
    machine = type("JobLifeHere", (JobLife,), {"database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
