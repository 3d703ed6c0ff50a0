"""What a workspace sees of its jobs and does to them."""

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import UniqueViolation

from services.kernel.caller import Caller
from services.kernel.clock import FrozenClock
from services.kernel.db import Database, Scope
from services.kernel.errors import ConcurrentUpdate
from services.kernel.ids import new_id
from services.kernel.jobs import DeadReason, JobFilter, JobRepository, JobState, enqueue, repository
from services.kernel.jobs.gate import SYSTEM
from services.kernel.jobs.model import KEPT, QUEUED, Settlement
from tests.kernel.conftest import Owner
from tests.kernel.jobs.conftest import Bench, Hand, Managing
from tests.support.waiting import until


@pytest.fixture
def workspace() -> UUID:
    return new_id()


def die(bench: Bench, workspace: UUID, count: int = 1, **fields: Any) -> list[UUID]:
    """Jobs that were given up."""
    bench.add(*(bench.new(**fields) for _ in range(count)), workspace_id=workspace)
    rows = Hand(bench).claim(count)
    bench.settle(*(Settlement(row.lease, JobState.DEAD, reason=DeadReason.PERMANENT, error="never") for row in rows))
    return [row.job_id for row in rows]


class TestList:
    def test_newest_first_page_by_page(self, bench: Bench, workspace: UUID) -> None:
        ids = bench.add(*(bench.new() for _ in range(5)), workspace_id=workspace)
        with bench.manage() as jobs:
            first = jobs.list_newest(workspace, JobFilter(), count=3)
            second = jobs.list_newest(workspace, JobFilter(), first[-1].id, count=3)
        assert [job.id for job in (*first, *second)] == ids[::-1]

    def test_only_what_the_filter_lets_through(self, bench: Bench, workspace: UUID) -> None:
        [dead] = die(bench, workspace, kind="test.dead")
        [queued] = bench.add(bench.new("test.queued"), workspace_id=workspace)
        wanted = {
            JobFilter(frozenset({JobState.DEAD})): [dead],
            JobFilter(QUEUED): [queued],
            JobFilter(QUEUED | {JobState.DEAD}): [queued, dead],
            JobFilter(kind="test.dead"): [dead],
            JobFilter(queue=bench.queue): [queued, dead],
            JobFilter(queue="another"): [],
        }
        with bench.manage() as jobs:
            for which, expected in wanted.items():
                assert [job.id for job in jobs.list_newest(workspace, which)] == expected

    def test_a_tenants_session_sees_no_others(self, bench: Bench, workspace: UUID, database: Database) -> None:
        [mine] = bench.add(bench.new(), workspace_id=workspace)
        other = new_id()
        [theirs] = bench.add(bench.new(), workspace_id=other)
        with Managing(database, Scope("plinth_events", workspace)) as jobs:
            assert jobs.get(workspace, mine) is not None
            assert jobs.get(other, theirs) is None
            assert jobs.list_newest(other, JobFilter()) == []


class TestCancel:
    def test_queued_it_ends_and_never_runs(self, bench: Bench, workspace: UUID, clock: FrozenClock) -> None:
        [queued] = bench.add(bench.new(), workspace_id=workspace)
        with bench.manage() as jobs:
            job = jobs.cancel(workspace, queued, clock.now())
        assert job is not None
        assert (job.state, job.end_time) == (JobState.CANCELLED, clock.now())
        assert Hand(bench).claim() == []

    def test_running_it_is_asked_to_stop(self, bench: Bench, workspace: UUID, clock: FrozenClock) -> None:
        [running] = bench.add(bench.new(), workspace_id=workspace)
        [row] = Hand(bench).claim()
        with bench.manage() as jobs:
            job = jobs.cancel(workspace, running, clock.now())
        assert job is not None
        assert (job.state, job.cancel_requested) == (JobState.RUNNING, True)
        assert bench.settle(Settlement(row.lease, JobState.ARRIVED, error="x")) == [JobState.CANCELLED]

    def test_its_worker_may_have_been_quicker(self, bench: Bench, workspace: UUID, clock: FrozenClock) -> None:
        [running] = bench.add(bench.new(), workspace_id=workspace)
        [row] = Hand(bench).claim()
        with bench.manage() as jobs:
            jobs.cancel(workspace, running, clock.now())
        assert bench.settle(Settlement(row.lease, JobState.SUCCEEDED)) == [JobState.SUCCEEDED]

    def test_what_has_ended_stays_as_it_is(self, bench: Bench, workspace: UUID, clock: FrozenClock) -> None:
        [dead] = die(bench, workspace)
        with bench.manage() as jobs:
            job = jobs.cancel(workspace, dead, clock.now())
        assert job is not None
        assert job.state is JobState.DEAD

    def test_there_may_be_none(self, bench: Bench, workspace: UUID, clock: FrozenClock) -> None:
        with bench.manage() as jobs:
            assert jobs.cancel(workspace, new_id(), clock.now()) is None


class TestRequeue:
    def test_one_comes_back_with_all_its_attempts(self, bench: Bench, workspace: UUID, clock: FrozenClock) -> None:
        [dead] = die(bench, workspace)
        with bench.manage() as jobs:
            job = jobs.lock(workspace, dead)
            assert job is not None
            jobs.requeue(job, clock.now())
        [row] = Hand(bench).claim()
        assert (row.job_id, row.number) == (dead, 1)

    def test_many_since(self, bench: Bench, workspace: UUID, clock: FrozenClock) -> None:
        old = die(bench, workspace, 2)
        clock.advance(timedelta(hours=1))
        since = clock.now()
        young = die(bench, workspace, 3)
        with bench.manage() as jobs:
            assert jobs.requeue_dead(workspace, clock.now(), since=since) == (3, False)
        assert {row.job_id for row in Hand(bench).claim()} == set(young)
        with bench.manage() as jobs:
            assert jobs.requeue_dead(workspace, clock.now(), job_ids=[*old, *young]) == (2, False)

    def test_never_those_of_another_workspace(self, bench: Bench, workspace: UUID, clock: FrozenClock) -> None:
        die(bench, new_id())
        with bench.manage() as jobs:
            assert jobs.requeue_dead(workspace, clock.now()) == (0, False)

    def test_of_those_with_one_key_the_newest_and_none_while_one_lives(
        self, bench: Bench, workspace: UUID, clock: FrozenClock
    ) -> None:
        [old] = die(bench, workspace, unique_key="k")
        [new] = die(bench, workspace, unique_key="k")
        with bench.manage() as jobs:
            assert jobs.requeue_dead(workspace, clock.now()) == (1, False)
        [row] = Hand(bench).claim()
        assert row.job_id == new
        with bench.manage() as jobs:
            assert jobs.requeue_dead(workspace, clock.now()) == (0, False)
            job = jobs.get(workspace, old)
            assert job is not None
        with pytest.raises(UniqueViolation), bench.manage() as jobs:
            jobs.requeue(job, clock.now())

    def test_there_may_be_more_where_a_limit_was_used_up_by_jobs_of_one_key(
        self, bench: Bench, workspace: UUID, clock: FrozenClock
    ) -> None:
        [other] = die(bench, workspace)
        *_, newest = [die(bench, workspace, unique_key="k")[0] for _ in range(3)]
        with bench.manage() as jobs:
            assert jobs.requeue_dead(workspace, clock.now(), count=2) == (1, True)
        assert [row.job_id for row in Hand(bench).claim(4)] == [newest]
        with bench.manage() as jobs:
            assert jobs.requeue_dead(workspace, clock.now(), count=2) == (1, False)
        assert [row.job_id for row in Hand(bench).claim(4)] == [other]

    def test_many_give_way_to_one_whose_commit_takes_a_key_meanwhile(
        self, bench: Bench, workspace: UUID, clock: FrozenClock, database: Database, owner: Owner
    ) -> None:
        die(bench, workspace, unique_key="k")
        raised: list[ConcurrentUpdate] = []

        def requeue() -> None:
            try:
                with bench.manage() as jobs:
                    jobs.requeue_dead(workspace, clock.now())
            except ConcurrentUpdate as error:
                raised.append(error)

        waits = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        requeuing = threading.Thread(target=requeue)
        with database.transaction(SYSTEM) as session:
            new = [bench.new(unique_key="k")]
            enqueue(session, new, workspace_id=workspace, caller=Caller(), now=clock.now())
            requeuing.start()
            until(lambda: owner.execute(waits).fetchone(), "its waiting for who has the key")
            session.commit()
        requeuing.join(15)
        assert len(raised) == 1


class TestEnds:
    def test_a_discarded_one_is_kept_for_a_while(self, bench: Bench, workspace: UUID, clock: FrozenClock) -> None:
        [dead] = die(bench, workspace)
        with bench.manage() as jobs:
            jobs.discard(workspace, dead, clock.now())
        assert _state(bench, workspace, dead) is JobState.DISCARDED
        clock.advance(KEPT)
        with bench.manage() as jobs:
            assert repository.sweep(jobs._session, clock.now(), 1000) >= 1
        assert bench.get(dead, workspace) is None

    def test_a_dead_one_stays_until_somebody_sees_to_it(
        self, bench: Bench, workspace: UUID, clock: FrozenClock
    ) -> None:
        [dead] = die(bench, workspace)
        clock.advance(timedelta(days=4000))
        with bench.manage() as jobs:
            repository.sweep(jobs._session, clock.now(), 1000)
        assert _state(bench, workspace, dead) is JobState.DEAD

    def test_a_success_can_be_seen_for_as_long_as_its_handler_wants(
        self, bench: Bench, workspace: UUID, clock: FrozenClock
    ) -> None:
        bench.add(bench.new(), workspace_id=workspace)
        [row] = Hand(bench).claim()
        until = clock.now() + timedelta(hours=1)
        bench.settle(Settlement(row.lease, JobState.SUCCEEDED, keep_until=until))
        assert _state(bench, workspace, row.job_id) is JobState.SUCCEEDED
        clock.advance(timedelta(hours=1))
        with bench.manage() as jobs:
            repository.sweep(jobs._session, clock.now(), 1000)
        assert bench.get(row.job_id, workspace) is None

    def test_the_payload_is_there_for_whoever_manages(self, bench: Bench, workspace: UUID) -> None:
        [job] = bench.add(bench.new(payload=b"what"), workspace_id=workspace)
        with bench.manage() as jobs:
            assert jobs.payload(workspace, job) == b"what"


class TestCounts:
    def test_say_how_full_a_queue_is(self, bench: Bench, database: Database, clock: FrozenClock) -> None:
        began = clock.now()
        die(bench, new_id())
        bench.add(*(bench.new() for _ in range(4)))
        bench.add(bench.new(run_at=clock.now() + timedelta(hours=1)))
        Hand(bench).claim(1)
        clock.advance(timedelta(minutes=1))
        with database.transaction(SYSTEM) as session:
            [mine] = [one for one in repository.counts(session, clock.now()) if one.queue == bench.queue]
        assert (mine.ready, mine.running, mine.scheduled, mine.dead, mine.oldest) == (3, 1, 1, 1, began)


def _state(bench: Bench, workspace: UUID, wanted: UUID) -> JobState | None:
    with bench.manage() as jobs:
        assert isinstance(jobs, JobRepository)
        job = jobs.get(workspace, wanted)
    return job.state if job is not None else None
