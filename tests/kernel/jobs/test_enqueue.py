"""A job comes with the commit that wants it, and a key brings one at a time."""

from datetime import timedelta
from uuid import UUID

import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import text

from plinth.tenancy.v1 import events_pb2
from services.kernel.caller import Caller
from services.kernel.clock import FrozenClock
from services.kernel.db import Database, Scope, Session
from services.kernel.ids import new_id
from services.kernel.jobs import DeadReason, JobState, NewJob, bury
from services.kernel.jobs.model import Lease, Settlement
from services.kernel.unit_of_work import Units
from tests.kernel.conftest import Owner
from tests.kernel.jobs.conftest import Bench, Hand
from tests.support.acting import acting, at_once


class TestEnqueue:
    def test_the_job_is_the_workspaces_and_knows_who_wanted_it(
        self, units: Units[Session], caller: Caller, bench: Bench, clock: FrozenClock
    ) -> None:
        message = events_pb2.WorkspaceCreated(display_name="Acme")
        with units() as uow:
            uow.enqueue(bench.new(payload=message, subject="workspaces/1", priority=1, max_attempts=3))
            uow.commit()
        [row] = Hand(bench).claim()
        assert row.workspace_id == caller.workspace_id
        assert (row.actor, row.traceparent) == (caller.principal, caller.traceparent)
        assert (row.subject, row.max_attempts, row.number) == ("workspaces/1", 3, 1)
        job = bench.get(row.job_id, caller.workspace_id)
        assert job is not None
        assert job.priority == 1
        assert events_pb2.WorkspaceCreated.FromString(row.payload) == message
        assert row.create_time == row.run_time == clock.now()

    @pytest.mark.usefixtures("caller")
    def test_without_the_commit_there_is_none(self, units: Units[Session], bench: Bench) -> None:
        with units() as uow:
            uow.enqueue(bench.new())
        assert Hand(bench).claim() == []

    @pytest.mark.usefixtures("caller")
    def test_many_keep_their_order(self, units: Units[Session], bench: Bench) -> None:
        with units() as uow:
            ids = uow.enqueue_all([bench.new(subject=str(number)) for number in range(50)])
            uow.commit()
        rows = Hand(bench).claim()
        assert [row.subject for row in rows] == [str(number) for number in range(50)]
        assert [row.job_id for row in rows] == ids

    @pytest.mark.parametrize("others", [{}, {"unique_key": "k"}])
    def test_a_restricted_one_is_so_alone_and_among_many(self, bench: Bench, others: dict[str, str]) -> None:
        workspace = new_id()
        new = [bench.new(restricted=True, **others), bench.new("test.open"), bench.new("test.also_open")]
        ids = bench.add(*new, workspace_id=workspace) + bench.add(bench.new(restricted=True), workspace_id=workspace)
        found = [bench.get(job_id, workspace) for job_id in ids]
        assert [job.restricted for job in found if job is not None] == [True, False, False, True]

    @pytest.mark.usefixtures("caller")
    def test_a_users_unit_says_whose_it_is(self, units: Units[Session], bench: Bench) -> None:
        workspace = new_id()
        with units.user() as uow:
            uow.enqueue(bench.new(workspace_id=workspace))
            uow.commit()
        assert [row.workspace_id for row in Hand(bench).claim()] == [workspace]

    @pytest.mark.usefixtures("caller")
    def test_a_users_unit_gives_no_key_in_a_workspace_whose_keys_it_cannot_see(
        self, units: Units[Session], bench: Bench
    ) -> None:
        with pytest.raises(InsufficientPrivilege), units.user() as uow:
            uow.enqueue(bench.new(workspace_id=new_id(), unique_key="a"))

    @pytest.mark.usefixtures("caller")
    def test_a_tenants_unit_enqueues_for_no_other(self, units: Units[Session], bench: Bench) -> None:
        with pytest.raises(InsufficientPrivilege), units() as uow:
            uow.enqueue(bench.new(workspace_id=new_id()))


class TestUniqueKey:
    def test_a_second_of_a_live_one_is_the_first(self, bench: Bench) -> None:
        [first] = bench.add(bench.new(unique_key=bench.queue))
        assert bench.add(bench.new(unique_key=bench.queue)) == [first]
        [row] = Hand(bench).claim()
        assert bench.add(bench.new(unique_key=bench.queue)) == [first], "a running job lives"
        bench.settle(Settlement(row.lease, JobState.SUCCEEDED))
        assert bench.add(bench.new(unique_key=bench.queue)) != [first]

    def test_another_kind_and_another_workspace_have_their_own(self, bench: Bench) -> None:
        workspace = new_id()
        ids = {
            *bench.add(bench.new(unique_key=bench.queue)),
            *bench.add(bench.new("test.other", unique_key=bench.queue)),
            *bench.add(bench.new(unique_key=bench.queue), workspace_id=workspace),
        }
        assert len(ids) == 3

    @pytest.mark.usefixtures("caller")
    def test_a_tenant_finds_its_own_by_it(self, units: Units[Session], bench: Bench) -> None:
        found = []
        for _ in range(2):
            with units() as uow:
                found.append(uow.enqueue(bench.new(unique_key="a")))
                uow.commit()
        assert found[0] == found[1]
        assert len(Hand(bench).claim()) == 1

    def test_of_many_at_once_one_comes_in(self, bench: Bench, units: Units[Session]) -> None:
        caller = Caller(user_id=new_id(), workspace_id=new_id())

        def enqueue() -> UUID:
            with acting(caller), units() as uow:
                found = uow.enqueue(bench.new(unique_key="once"))
                uow.commit()
            return found

        assert len(set(at_once(6, enqueue))) == 1
        assert len(Hand(bench).claim()) == 1


class TestBury:
    def test_it_is_dead_and_can_be_requeued(self, bench: Bench, database: Database, clock: FrozenClock) -> None:
        workspace = new_id()
        with database.transaction(Scope("plinth_tenancy", workspace)) as session:
            dead = bury(
                session,
                bench.new(payload=b"what failed"),
                reason=DeadReason.ATTEMPTS_EXHAUSTED,
                error="no luck",
                workspace_id=workspace,
                caller=Caller(service="test"),
                now=clock.now(),
            )
            session.commit()
        job = bench.get(dead, workspace)
        assert job is not None
        assert (job.state, job.dead_reason, job.last_error) == (JobState.DEAD, "attempts_exhausted", "no luck")
        assert Hand(bench).claim() == []
        with bench.manage() as repository:
            assert repository.requeue_dead(workspace, clock.now(), job_ids=[dead]) == (1, False)
        [row] = Hand(bench).claim()
        assert (row.payload, row.number) == (b"what failed", 1)


class TestRights:
    """Who may see and touch what, whatever the code does."""

    def test_a_domain_reads_neither_jobs_nor_their_payloads(self, database: Database) -> None:
        for role in ("plinth_tenancy", "plinth_tenancy_system", "plinth_identity"):
            for statement in (
                "select payload from jobs.jobs",
                "delete from jobs.jobs",
                "update jobs.jobs set rank = 0",
            ):
                with pytest.raises(InsufficientPrivilege), database.transaction(Scope(role, new_id())) as session:
                    session.run(text(statement))

    def test_a_domain_sees_keys_of_its_workspace_only(self, bench: Bench, database: Database) -> None:
        mine, other = new_id(), new_id()
        bench.add(bench.new(unique_key="a"), workspace_id=other)
        [found] = bench.add(bench.new(unique_key="a"), workspace_id=mine)
        with database.transaction(Scope("plinth_tenancy", mine)) as session:
            seen = session.all(text("select id from jobs.jobs where unique_key = 'a'"), lambda id: id)
        assert seen == [found]

    def test_events_manages_the_jobs_of_its_session_only(self, bench: Bench, database: Database) -> None:
        mine, other = new_id(), new_id()
        for workspace in (mine, other):
            bench.add(bench.new(), workspace_id=workspace)
        cancel = text("update jobs.jobs set cancel_requested = true where queue = :queue")
        with database.transaction(Scope("plinth_events", mine)) as session:
            assert session.run(cancel, queue=bench.queue) == 1

    def test_every_table_forces_row_level_security(self, owner: Owner) -> None:
        lax = owner.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace = 'jobs'::regnamespace"
            " and not (relrowsecurity and relforcerowsecurity)"
        ).fetchall()
        assert lax == []


class TestFences:
    def test_a_completion_with_an_old_fence_is_refused(self, bench: Bench, clock: FrozenClock) -> None:
        bench.add(bench.new())
        hand = Hand(bench)
        [first] = hand.claim()
        clock.advance(timedelta(minutes=2))
        assert len(bench.expire()) == 1
        [second] = hand.claim()
        assert second.fence > first.fence
        for state in (JobState.SUCCEEDED, JobState.ARRIVED, JobState.DEAD):
            assert bench.settle(Settlement(first.lease, state)) == [None]
        assert bench.settle(Settlement(second.lease, JobState.SUCCEEDED)) == [JobState.SUCCEEDED]
        assert bench.settle(Settlement(second.lease, JobState.SUCCEEDED)) == [None]

    def test_a_claim_that_the_database_forgot_does_not_share_its_fence_with_the_next(
        self, bench: Bench, owner: Owner, clock: FrozenClock
    ) -> None:
        bench.add(bench.new())
        before = owner.execute("select fence from jobs.jobs where queue = %s", [bench.queue]).fetchone()
        [forgotten] = Hand(bench).claim()
        # As it was before the claim: what a crash does to a commit that did not wait for the disk.
        assert before is not None
        owner.execute(
            "update jobs.jobs set state = 'ready', fence = %s, attempt = 0 where queue = %s",
            [before["fence"], bench.queue],
        )
        clock.advance(timedelta(seconds=1))
        [row] = Hand(bench).claim()
        assert row.fence > forgotten.fence
        assert bench.settle(Settlement(forgotten.lease, JobState.SUCCEEDED)) == [None]

    def test_a_fence_of_another_job_is_worth_nothing(self, bench: Bench) -> None:
        bench.add(bench.new(), bench.new())
        one, other = Hand(bench).claim()
        swapped = Lease(one.lease.lane, one.job_id, other.fence + 1)
        assert bench.settle(Settlement(swapped, JobState.SUCCEEDED)) == [None]


def test_new_job_takes_bytes_as_they_are() -> None:
    assert NewJob("queue", "test.job", b"\x00raw").data() == b"\x00raw"
