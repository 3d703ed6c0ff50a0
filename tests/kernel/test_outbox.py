"""The outbox: what is emitted is written right before the commit, and a subject's order is the order of its commits."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from services.kernel.caller import Caller
from services.kernel.clock import FrozenClock
from services.kernel.db import Database, Scope, Session
from services.kernel.ids import new_id
from services.kernel.outbox import CHANNEL, LOCK_CLASS, SLEEP_LOCK, Emitted, emitted, flush
from services.kernel.unit_of_work import Units
from tests.kernel.conftest import Owner
from tests.support.event_log import created, emit
from tests.support.waiting import until


def _subjects(owner: Owner, workspace: UUID | None) -> list[str]:
    rows = owner.execute("select subject from kernel.outbox where workspace_id = %s order by sequence", [workspace])
    return [row["subject"] for row in rows]


def _locks(owner: Owner, *, granted: bool) -> int:
    """How many locks of subjects are held in this database, or waited for."""
    locks = owner.execute(
        "select 1 from pg_locks where locktype = 'advisory' and classid::bigint = %s and objid::bigint < 4096"
        " and granted = %s and database = (select oid from pg_database where datname = current_database())",
        [LOCK_CLASS, granted],
    )
    return len(locks.fetchall())


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


class Writer:
    """Transactions of one workspace that flush, and commit when they are told to."""

    def __init__(self, database: Database, caller: Caller, clock: FrozenClock) -> None:
        self._database, self._caller, self._clock = database, caller, clock
        self.workspace = caller.workspace_id

    def about(self, *subjects: str) -> list[Emitted]:
        return [
            emitted(one, created("x"), workspace_id=self.workspace, caller=self._caller, now=self._clock.now())
            for one in subjects
        ]

    def commit(self, *subjects: str) -> None:
        with self.flushed(*subjects) as session:
            session.commit()

    @contextmanager
    def flushed(self, *subjects: str) -> Iterator[Session]:
        with self._database.transaction(Scope("plinth_tenancy", self.workspace)) as session:
            flush(session, self.about(*subjects))
            yield session


@pytest.fixture
def writer(database: Database, caller: Caller, clock: FrozenClock) -> Writer:
    return Writer(database, caller, clock)


class TestOrder:
    def test_who_comes_second_to_a_subject_waits_for_the_first_ones_commit(
        self, writer: Writer, owner: Owner, pool: ThreadPoolExecutor
    ) -> None:
        with writer.flushed("a", "same") as first:
            second: Future[None] = pool.submit(writer.commit, "same", "b")
            until(lambda: _locks(owner, granted=False), "a second that waits")
            assert _subjects(owner, writer.workspace) == []
            first.commit()
        second.result(10)
        assert _subjects(owner, writer.workspace) == ["a", "same", "same", "b"]

    def test_other_subjects_do_not_wait(self, writer: Writer, owner: Owner) -> None:
        with writer.flushed("a") as first:
            writer.commit("b")
            assert _subjects(owner, writer.workspace) == ["b"]
            first.commit()

    def test_subjects_in_opposite_order_do_not_deadlock(
        self, writer: Writer, owner: Owner, pool: ThreadPoolExecutor
    ) -> None:
        there, back = [str(n) for n in range(40)], [str(n) for n in reversed(range(40))]
        for future in [pool.submit(writer.commit, *subjects) for subjects in [there, back] * 10]:
            future.result(20)
        assert len(_subjects(owner, writer.workspace)) == 800

    def test_many_events_of_one_commit_keep_their_order(self, writer: Writer, owner: Owner) -> None:
        subjects = [str(n) for n in range(50)]
        writer.commit(*subjects)
        assert _subjects(owner, writer.workspace) == subjects

    def test_a_commit_about_very_many_subjects_does_not_exhaust_the_lock_table(
        self, writer: Writer, owner: Owner
    ) -> None:
        writer.commit(*(f"subject {n}" for n in range(12_000)))
        assert len(_subjects(owner, writer.workspace)) == 12_000


class TestBuffer:
    def test_a_unit_that_has_emitted_and_idles_holds_no_lock(
        self, units: Units[Session], caller: Caller, owner: Owner
    ) -> None:
        with units() as uow:
            uow.emit("same", created("late"))
            assert _locks(owner, granted=True) == 0
            uow.commit()
        assert _subjects(owner, caller.workspace_id) == ["same"]

    def test_what_is_changed_in_a_message_after_it_was_emitted_is_not_told(
        self, units: Units[Session], caller: Caller, owner: Owner
    ) -> None:
        message = created("before")
        with units() as uow:
            uow.emit("same", message)
            message.display_name = "after"
            uow.commit()
        row = owner.execute(
            "select o.data, a.detail from kernel.outbox o join kernel.audit a using (id) where o.workspace_id = %s",
            [caller.workspace_id],
        ).fetchone()
        assert row == {"data": created("before").SerializeToString(), "detail": {"displayName": "before"}}


class TestWakeUp:
    @pytest.fixture
    def listener(self, database: Database) -> Iterator[psycopg.Connection[object]]:
        with database.connect() as connection:
            connection.execute(f"listen {CHANNEL}")
            yield connection

    @pytest.mark.usefixtures("caller")
    def test_while_the_sequencer_sleeps_each_commit_wakes_it(
        self, units: Units[Session], listener: psycopg.Connection[object]
    ) -> None:
        listener.execute("select pg_advisory_lock(%s, %s)", [LOCK_CLASS, SLEEP_LOCK])
        emit(units, new_id(), ["one"])
        assert len(list(listener.notifies(timeout=10, stop_after=1))) == 1

    @pytest.mark.usefixtures("caller")
    def test_while_it_is_awake_nobody_does(
        self, units: Units[Session], listener: psycopg.Connection[object], owner: Owner
    ) -> None:
        emit(units, new_id(), ["one"])
        owner.execute(f"notify {CHANNEL}, 'the only one'")
        assert [notice.payload for notice in listener.notifies(timeout=10, stop_after=1)] == ["the only one"]

    def test_it_cannot_fall_asleep_over_a_commit_that_is_under_way(
        self, writer: Writer, listener: psycopg.Connection[object]
    ) -> None:
        ask = "select pg_try_advisory_lock(%s, %s)"
        with writer.flushed("same") as session:
            assert listener.execute(ask, [LOCK_CLASS, SLEEP_LOCK]).fetchone() == (False,)
            session.commit()
        assert listener.execute(ask, [LOCK_CLASS, SLEEP_LOCK]).fetchone() == (True,)
