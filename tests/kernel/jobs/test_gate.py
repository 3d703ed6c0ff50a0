"""Turns: who comes when, among tenants, priorities, times and limits; and what a held transaction costs."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from services.kernel.caller import Caller
from services.kernel.clock import FrozenClock
from services.kernel.db import Database
from services.kernel.ids import new_id
from services.kernel.jobs import JobState, claims, enqueue, gate, sleep
from services.kernel.jobs.gate import RANKS, SYSTEM, Limits, Marks
from services.kernel.jobs.model import Settlement
from tests.kernel.conftest import Owner
from tests.kernel.jobs.conftest import Bench, Hand, lock_row


class TestFairness:
    def test_who_comes_late_is_next_however_many_another_has(self, bench: Bench) -> None:
        crowd, late = new_id(), new_id()
        hand = Hand(bench)
        bench.add(*(bench.new() for _ in range(1000)), workspace_id=crowd)
        for _ in range(3):
            hand.finish(hand.claim(50))
        bench.add(bench.new(), workspace_id=late)
        assert late in {row.workspace_id for row in hand.claim(2)}

    def test_a_crowd_that_has_not_passed_the_gate_yet_delays_nobody_by_a_batch(self, bench: Bench) -> None:
        crowd, late = new_id(), new_id()
        # More than the gate lets through at a time.
        bench.add(*(bench.new() for _ in range(12_000)), workspace_id=crowd)
        bench.add(bench.new(), workspace_id=late)
        assert late in {row.workspace_id for row in Hand(bench).claim(10)}

    def test_one_that_takes_the_gate_several_passes_delays_nobody_by_more_than_a_few_batches(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As a hundred thousand are to the gate as it is.
        monkeypatch.setattr(gate, "_CHUNK", 50)
        crowd, late = new_id(), new_id()
        bench.add(*(bench.new() for _ in range(1000)), workspace_id=crowd)
        bench.add(bench.new(), workspace_id=late)
        hand = Hand(bench)
        assert late in {row.workspace_id for _ in range(3) for row in hand.claim(10)}

    def test_all_who_wait_take_turns(self, bench: Bench) -> None:
        many, few, one = new_id(), new_id(), new_id()
        for workspace, count in ((many, 60), (few, 20), (one, 1)):
            bench.add(*(bench.new() for _ in range(count)), workspace_id=workspace)
        rows = Hand(bench).claim(41)
        assert Counter(row.workspace_id for row in rows) == {many: 20, few: 20, one: 1}

    def test_within_a_workspace_it_is_first_come_first_served(self, bench: Bench) -> None:
        ids = bench.add(*(bench.new() for _ in range(30)))
        hand = Hand(bench)
        assert [row.job_id for _ in range(3) for row in hand.claim(10)] == ids

    def test_who_was_idle_saves_up_no_turns(self, bench: Bench) -> None:
        busy, idle = new_id(), new_id()
        hand = Hand(bench)
        bench.add(*(bench.new() for _ in range(200)), workspace_id=busy)
        for _ in range(15):
            hand.finish(hand.claim(10))
        bench.add(*(bench.new() for _ in range(20)), workspace_id=idle)
        assert Counter(row.workspace_id for row in hand.claim(20)) == {busy: 10, idle: 10}


class TestOrder:
    def test_the_higher_priority_goes_first_whoever_has_it(self, bench: Bench) -> None:
        for priority in (0, -2, 2, 1, -1):
            bench.add(bench.new(priority=priority, subject=str(priority)), workspace_id=new_id())
        assert [row.subject for row in Hand(bench).claim()] == ["2", "1", "0", "-1", "-2"]

    def test_an_urgent_one_that_comes_late_goes_before_all_that_have_their_turns(self, bench: Bench) -> None:
        hand = Hand(bench)
        bench.add(*(bench.new() for _ in range(20)))
        hand.claim(1)
        [urgent] = bench.add(bench.new(priority=1))
        assert [row.job_id for row in hand.claim(1)] == [urgent]

    def test_a_delayed_job_waits_for_its_time(self, bench: Bench, clock: FrozenClock) -> None:
        hand = Hand(bench)
        bench.add(bench.new(run_at=clock.now() + timedelta(hours=1)))
        assert hand.claim() == []
        clock.advance(timedelta(minutes=59))
        assert hand.claim() == []
        clock.advance(timedelta(minutes=1))
        assert len(hand.claim()) == 1

    def test_a_worker_whose_clock_is_ahead_misses_no_delayed_job(self, bench: Bench, clock: FrozenClock) -> None:
        ahead, behind = Hand(bench), Hand(bench)
        clock.advance(timedelta(seconds=40))
        ahead.claim()
        clock.advance(timedelta(seconds=-40))
        bench.add(bench.new(run_at=clock.now() + timedelta(seconds=20)))
        behind.claim()
        clock.advance(timedelta(seconds=60))
        assert len(ahead.claim()) == 1


class TestLimits:
    def test_a_queue_has_no_more_under_way_than_it_may(self, bench: Bench) -> None:
        bench.add(*(bench.new() for _ in range(10)))
        hands = [Hand(bench, Limits(queue=3)) for _ in range(2)]
        first = [row for hand in hands for row in hand.claim()]
        assert len(first) == 3
        hands[0].finish(first[:2])
        assert sum(len(hand.claim()) for hand in hands) == 2

    def test_a_workspace_has_no_more_under_way_than_it_may_and_holds_nobody_up(self, bench: Bench) -> None:
        crowd, other = new_id(), new_id()
        bench.add(*(bench.new() for _ in range(50)), workspace_id=crowd)
        hand = Hand(bench, Limits(workspace=2))
        first = hand.claim()
        assert len(first) == 2
        bench.add(*(bench.new() for _ in range(3)), workspace_id=other)
        assert [row.workspace_id for row in hand.claim()] == [other, other]
        assert hand.claim() == []
        hand.finish(first)
        assert [row.workspace_id for row in hand.claim()] == [crowd, crowd]

    def test_what_waits_for_room_keeps_its_order_and_its_priority(self, bench: Bench) -> None:
        ids = bench.add(*(bench.new() for _ in range(4)))
        hand = Hand(bench, Limits(workspace=1))
        rows = hand.claim()
        [urgent] = bench.add(bench.new(priority=2))
        assert hand.claim() == []
        seen = []
        while rows:
            seen += [row.job_id for row in rows]
            hand.finish(rows)
            rows = hand.claim()
        assert seen == [ids[0], urgent, *ids[1:]]

    def test_a_lease_that_ran_out_makes_room(self, bench: Bench, clock: FrozenClock) -> None:
        bench.add(*(bench.new() for _ in range(2)))
        hand = Hand(bench, Limits(workspace=1))
        [held] = hand.claim()
        clock.advance(timedelta(minutes=2))
        bench.expire()
        [again] = hand.claim()
        assert again.job_id == held.job_id

    def test_who_waited_comes_in_where_there_is_no_limit_any_more(self, bench: Bench) -> None:
        ids = bench.add(*(bench.new() for _ in range(3)))
        [first] = Hand(bench, Limits(workspace=1)).claim()
        assert [row.job_id for row in (first, *Hand(bench).claim())] == ids

    def test_a_worker_at_rest_sees_that_somebody_waits_for_room_that_another_made(
        self, bench: Bench, database: Database
    ) -> None:
        bench.add(*(bench.new() for _ in range(2)))
        busy, resting = Hand(bench, Limits(workspace=1)), Hand(bench, Limits(workspace=1))
        first = busy.claim()
        assert resting.claim() == []
        busy.finish(first)
        with database.transaction(SYSTEM) as session:
            [seen] = sleep.look(session, {bench.queue: resting.marks}, now=bench.clock.now())
        assert seen.has_work
        assert len(resting.claim()) == 1


class TestLateCommits:
    def test_who_commits_late_is_found_by_a_worker_that_has_gone_on(self, bench: Bench, database: Database) -> None:
        hand = Hand(bench)
        with database.transaction(SYSTEM) as slow:
            [late] = enqueue(slow, [bench.new()], workspace_id=None, caller=Caller(), now=bench.clock.now())
            for _ in range(3):
                bench.add(*(bench.new() for _ in range(5)))
                assert len(hand.claim()) == 5
            slow.commit()
        assert [row.job_id for row in hand.claim()] == [late]

    def test_a_job_that_somebody_has_locked_is_neither_taken_nor_forgotten(
        self, bench: Bench, database: Database
    ) -> None:
        hand = Hand(bench)
        arrived = bench.add(*(bench.new() for _ in range(3)))
        with database.transaction(SYSTEM) as other:
            lock_row(other, arrived[0])
            assert [row.job_id for row in hand.claim(careful=True)] == arrived[1:]
        assert [row.job_id for row in hand.claim()] == arrived[:1]

    def test_the_same_for_one_that_is_ready(self, bench: Bench, database: Database) -> None:
        hand = Hand(bench)
        ready = bench.add(*(bench.new() for _ in range(5)))
        assert len(hand.claim(1)) == 1
        with database.transaction(SYSTEM) as other:
            lock_row(other, ready[2])
            assert [row.job_id for row in hand.claim(4, careful=True)] == [ready[1], *ready[3:]]
        bench.add(bench.new())
        assert hand.claim(1)[0].job_id == ready[2]

    def test_a_settlement_whose_row_is_locked_is_put_off(self, bench: Bench, database: Database) -> None:
        bench.add(bench.new())
        [row] = Hand(bench).claim()
        settlement = Settlement(row.lease, JobState.SUCCEEDED)
        with database.transaction(SYSTEM) as other:
            lock_row(other, row.job_id)
            assert bench.settle(settlement, careful=True) == [None]
            with database.transaction(SYSTEM) as session:
                assert claims.held(session, [settlement.lease]) == [False]
        assert bench.settle(settlement) == [JobState.SUCCEEDED]


class TestHeldTransaction:
    """While a transaction is held open, index entries of jobs that are gone cannot be cleared."""

    @pytest.fixture
    def held(self, kernel_owner_url: str) -> Iterator[None]:
        with psycopg.connect(kernel_owner_url) as connection:
            connection.execute("set transaction isolation level repeatable read")
            connection.execute("select 1")
            yield

    @pytest.mark.usefixtures("held")
    def test_a_claim_reads_what_is_left_and_not_what_was_done(self, bench: Bench, owner: Owner) -> None:
        hand = Hand(bench)
        for _ in range(8):
            bench.add(*(bench.new() for _ in range(500)))
            while rows := hand.claim():
                hand.finish(rows)
        bench.add(*(bench.new() for _ in range(10)))
        hand.claim(1)
        # What the planner knows of the tables must not matter, nor when autovacuum comes.
        owner.execute("vacuum jobs.jobs")
        knowing, unknowing = _pages_of_a_claim(owner, bench, hand.marks), _pages_of_a_claim(owner, bench, Marks())
        assert knowing < 60
        assert unknowing > 3 * knowing, "there was nothing to walk over, so this test tells nothing"


def _pages_of_a_claim(owner: Owner, bench: Bench, marks: Marks) -> int:
    """How many pages PostgreSQL looks at to claim one job; the claim is undone."""
    now = bench.clock.now()
    values = {
        "queue": bench.queue,
        "ranks": list(RANKS),
        "turns": marks.turns,
        "count": 1,
        "queue_limit": None,
        "worker": "",
        "fence": 1,
        "now": now,
        "lease_time": now,
        "lost": now,
        "careful": False,
    }
    with owner.transaction(force_rollback=True):
        owner.execute(gate._PREPARE.sql, gate._PREPARE.defaults)
        [plan] = owner.execute("explain (analyze, buffers, format json) " + claims._TAKE.sql, values).fetchall()
    top: Any = plan["QUERY PLAN"][0]["Plan"]
    return int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"])
