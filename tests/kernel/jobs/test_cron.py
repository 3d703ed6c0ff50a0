"""Schedules: which runs are due, which are made up for, and that each is enqueued once."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from cronsim import CronSimError

from services.kernel.clock import FrozenClock
from services.kernel.db import Database
from services.kernel.ids import new_id
from services.kernel.jobs import CatchUp, Cron, CronJob
from tests.kernel.conftest import Owner
from tests.kernel.jobs.conftest import Bench, Hand
from tests.support.acting import at_once
from tests.support.waiting import until

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def hourly(bench: Bench, catch_up: CatchUp = CatchUp.ONE, schedule: str = "0 * * * *") -> CronJob:
    return CronJob(f"{bench.queue}.hourly", schedule, bench.queue, "test.hourly", catch_up, payload=b"p")


def runs(bench: Bench) -> list[datetime]:
    """The times that jobs were enqueued for since the last time."""
    return sorted(row.run_time for row in Hand(bench).claim())


class TestTimes:
    def test_a_schedule_goes_by_its_time_zone(self) -> None:
        job = CronJob("n", "30 2 * * *", "q", "test.k", time_zone="Europe/Berlin")
        assert job.after(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2026, 1, 1, 1, 30, tzinfo=UTC)
        assert job.after(datetime(2026, 7, 1, tzinfo=UTC)) == datetime(2026, 7, 1, 0, 30, tzinfo=UTC)

    def test_what_is_no_schedule_is_refused_at_once(self) -> None:
        with pytest.raises(CronSimError):
            CronJob("n", "every day", "q", "test.k")

    @pytest.mark.parametrize(("catch_up", "made_up"), [(CatchUp.SKIP, 0), (CatchUp.ONE, 1), (CatchUp.ALL, 5)])
    def test_missed_runs(self, catch_up: CatchUp, made_up: int) -> None:
        job = CronJob("n", "0 * * * *", "q", "test.k", catch_up)
        times, following = job.runs(NOON, NOON + timedelta(hours=4, minutes=30))
        assert times == [NOON + timedelta(hours=hour) for hour in range(5)][5 - made_up :]
        assert following == NOON + timedelta(hours=5)

    @pytest.mark.parametrize("catch_up", CatchUp)
    def test_a_run_that_is_a_little_late_was_not_missed(self, catch_up: CatchUp) -> None:
        job = CronJob("n", "0 * * * *", "q", "test.k", catch_up)
        assert job.runs(NOON, NOON + timedelta(seconds=20)) == ([NOON], NOON + timedelta(hours=1))

    def test_a_long_absence_is_made_up_for_in_portions(self) -> None:
        job = CronJob("n", "* * * * *", "q", "test.k", CatchUp.ALL)
        times, following = job.runs(NOON, NOON + timedelta(days=1))
        assert times == [NOON + timedelta(minutes=minute) for minute in range(100)]
        assert following == NOON + timedelta(minutes=100)


class TestTick:
    def test_a_new_schedule_begins_with_its_next_time(
        self, bench: Bench, database: Database, clock: FrozenClock
    ) -> None:
        cron = Cron(database, [hourly(bench)], clock)
        assert cron.tick() == NOON + timedelta(hours=1)
        assert runs(bench) == []
        clock.advance(timedelta(hours=1))
        assert cron.tick() == NOON + timedelta(hours=2)
        assert runs(bench) == [NOON + timedelta(hours=1)]
        assert cron.tick() == NOON + timedelta(hours=2)
        assert runs(bench) == []

    @pytest.mark.parametrize(("catch_up", "made_up"), [(CatchUp.SKIP, 0), (CatchUp.ONE, 1), (CatchUp.ALL, 3)])
    def test_after_an_absence(
        self, bench: Bench, database: Database, clock: FrozenClock, catch_up: CatchUp, made_up: int
    ) -> None:
        Cron(database, [hourly(bench, catch_up)], clock).tick()
        clock.advance(timedelta(hours=3, minutes=10))
        assert Cron(database, [hourly(bench, catch_up)], clock).tick() == NOON + timedelta(hours=4)
        assert len(runs(bench)) == made_up

    def test_of_many_processes_one_enqueues(self, bench: Bench, database: Database, clock: FrozenClock) -> None:
        Cron(database, [hourly(bench)], clock).tick()
        clock.advance(timedelta(hours=1))
        crons = [Cron(database, [hourly(bench)], clock) for _ in range(4)]
        at_once(4, lambda: crons.pop().tick())
        assert len(runs(bench)) == 1

    def test_a_changed_schedule_begins_anew(self, bench: Bench, database: Database, clock: FrozenClock) -> None:
        Cron(database, [hourly(bench)], clock).tick()
        clock.advance(timedelta(hours=2))
        assert Cron(database, [hourly(bench, schedule="15 * * * *")], clock).tick() == NOON + timedelta(
            hours=2, minutes=15
        )
        assert runs(bench) == []

    def test_a_failure_to_enqueue_leaves_the_run_due(
        self, bench: Bench, database: Database, clock: FrozenClock, owner: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cron = Cron(database, [hourly(bench)], clock)
        cron.tick()
        clock.advance(timedelta(hours=1))
        with monkeypatch.context() as patched:
            patched.setattr("services.kernel.jobs.cron.enqueue", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                cron.tick()
        cron.tick()
        assert runs(bench) == [NOON + timedelta(hours=1)]

    def test_the_job_is_as_the_schedule_says(self, bench: Bench, database: Database, clock: FrozenClock) -> None:
        workspace = new_id()
        job = CronJob(bench.queue, "0 * * * *", bench.queue, "test.hourly", payload=b"p", workspace_id=workspace)
        cron = Cron(database, [job], clock)
        cron.tick()
        clock.advance(timedelta(hours=1))
        cron.tick()
        [row] = Hand(bench).claim()
        assert (row.kind, row.payload, row.workspace_id) == ("test.hourly", b"p", workspace)
        assert row.actor == "services/test"

    def test_a_failure_of_the_database_does_not_end_it(
        self, live: Bench, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures: list[psycopg.Error] = [psycopg.errors.UndefinedTable()]
        tick = Cron.tick

        def failing(cron: Cron) -> datetime | None:
            if failures:
                raise failures.pop()
            return tick(cron)

        monkeypatch.setattr(Cron, "tick", failing)
        monkeypatch.setattr("services.kernel.jobs.cron._RETRY_SECONDS", 0.01)
        cron = Cron(database, [hourly(live, schedule="* * * * * *")])
        cron.start()
        until(lambda: Hand(live).claim(), "the first run")
        cron.stop()

    def test_without_schedules_there_is_nothing_to_do(self, database: Database) -> None:
        assert Cron(database, []).tick() is None
