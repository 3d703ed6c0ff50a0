"""Transactions: their role and tenant, their time limit, and what they leave behind: nothing."""

import threading
import time
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import UndefinedFunction, UniqueViolation
from sqlalchemy import bindparam, func, literal, select, text

from services.kernel import tables
from services.kernel.db import Database, Scope, Session, compiled
from services.kernel.errors import CallDeadlineExceeded, ConcurrentUpdate, DependencyUnavailable, Overloaded
from services.kernel.ids import new_id
from tests.support.acting import deadline

_SETTINGS = compiled(
    select(
        func.current_setting("role").label("role"),
        func.current_setting("plinth.workspace", True).label("workspace"),
        func.current_setting("plinth.user", True).label("user"),
        func.current_setting("statement_timeout").label("statement_timeout"),
        func.pg_backend_pid().label("pid"),
    )
)
_SLEEP = compiled(select(func.pg_sleep(bindparam("seconds"))))
_LOCK = compiled(select(func.pg_advisory_xact_lock(bindparam("number"))))
TENANCY = Scope("plinth_tenancy")


@pytest.fixture
def single(kernel_url: str) -> Iterator[Database]:
    """A pool of one connection, so that each transaction gets the one before it."""
    database = Database(kernel_url, pool_size=1)
    yield database
    database.close()


def _settings(session: Session) -> dict[str, object]:
    found: dict[str, object] | None = session.first(_SETTINGS, dict)
    assert found is not None
    return found


def _bare_settings(database: Database) -> dict[str, object]:
    """What the pooled connection itself says, past `transaction`."""
    with database._pool.connection() as connection:
        return _settings(Session(connection, TENANCY))


class TestScope:
    def test_sets_role_workspace_and_user_and_leaves_none_of_them(self, single: Database) -> None:
        workspace, user = new_id(), new_id()
        with single.transaction(Scope("plinth_tenancy", workspace, user)) as session:
            inside = _settings(session)
        assert (inside["role"], inside["workspace"], inside["user"]) == ("plinth_tenancy", str(workspace), str(user))
        after = _bare_settings(single)
        assert after["pid"] == inside["pid"]
        assert (after["role"], after["workspace"] or "", after["user"] or "") == ("none", "", "")
        assert after["statement_timeout"] == "0"

    def test_leaves_none_of_them_after_a_commit_or_a_failure(self, single: Database) -> None:
        with single.transaction(Scope("plinth_tenancy", new_id(), new_id())) as session:
            session.commit()
        with (
            pytest.raises(psycopg.errors.UndefinedTable),
            single.transaction(Scope("plinth_tenancy", new_id())) as session,
        ):
            session.run(text("select * from tenancy.no_such_table"))
        after = _bare_settings(single)
        assert (after["role"], after["workspace"] or "", after["user"] or "") == ("none", "", "")

    def test_the_next_transaction_sees_nothing_of_the_last_tenant(self, single: Database) -> None:
        with single.transaction(Scope("plinth_tenancy", new_id(), new_id())) as session:
            pid = _settings(session)["pid"]
        with single.transaction(TENANCY) as session:
            inside = _settings(session)
        assert (inside["pid"], inside["workspace"], inside["user"]) == (pid, "", "")

    def test_a_role_of_another_domain_touches_nothing(self, database: Database) -> None:
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            database.transaction(Scope("plinth_identity")) as session,
        ):
            session.run(text("select 1 from tenancy.workspaces"))

    def test_after_the_commit_the_connection_has_no_rights_left(self, database: Database) -> None:
        with database.transaction(TENANCY) as session:
            session.commit()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.run(select(tables.outbox.c.id))

    def test_takes_no_role_that_is_not_a_plain_word(self, database: Database) -> None:
        with pytest.raises(ValueError, match="no role"), database.transaction(Scope("x', true); reset role; --")):
            pass


class TestStatements:
    def test_rows_become_what_the_caller_makes_of_them(self, database: Database) -> None:
        numbers = select(func.generate_series(1, 3).label("number"))
        with database.transaction(TENANCY) as session:
            assert session.all(numbers, lambda number: number * 10) == [10, 20, 30]
            assert session.first(numbers.limit(0), dict) is None
            assert session.first(select(literal(7).label("number")), dict) == {"number": 7}

    def test_stay_prepared_for_the_next_transaction(self, single: Database) -> None:
        question = compiled(select(literal("prepared").label("word")))
        count = text(
            "select count(*)::int as count from pg_prepared_statements"
            " where statement like '%AS word%' and statement not like '%pg_prepared%'"
        )
        with single.transaction(TENANCY) as session:
            session.first(question, dict)
        with single.transaction(TENANCY) as session:
            assert session.first(count, lambda count: count) == 1

    def test_a_violated_constraint_passes_through(self, database: Database) -> None:
        insert = text("insert into kernel.outbox values (default, :id, null, '', '', '', now(), '', '', '', '')")
        one = new_id()

        def twice() -> None:
            with database.transaction(TENANCY) as session:
                session.run(insert, id=one)
                session.run(insert, id=one)

        with pytest.raises(UniqueViolation):
            twice()

    def test_after_a_failed_statement_there_is_no_commit(self, database: Database) -> None:
        with database.transaction(TENANCY) as session:
            with pytest.raises(UndefinedFunction):
                session.run(text("select no_such_function()"))
            with pytest.raises(RuntimeError, match="failed"):
                session.commit()

    def test_what_was_not_committed_is_gone(self, database: Database, owner: psycopg.Connection[object]) -> None:
        one = new_id()
        with database.transaction(TENANCY) as session:
            session.run(
                text("insert into kernel.outbox values (default, :id, null, '', '', '', now(), '', '', '', '')"), id=one
            )
        assert owner.execute("select 1 from kernel.outbox where id = %s", [one]).fetchone() is None


class TestDeadline:
    def test_statements_may_run_as_long_as_the_call(self, database: Database) -> None:
        with deadline(time.monotonic() + 2.5), database.transaction(TENANCY) as session:
            allowed = str(_settings(session)["statement_timeout"])
        assert allowed.endswith("ms")
        assert 1500 < int(allowed.removesuffix("ms")) <= 2500

    def test_without_one_a_minute(self, database: Database) -> None:
        with database.transaction(TENANCY) as session:
            assert _settings(session)["statement_timeout"] == "1min"

    def test_a_statement_that_outlasts_it_is_cut_off(self, database: Database) -> None:
        with (
            deadline(time.monotonic() + 0.05),
            pytest.raises(CallDeadlineExceeded),
            database.transaction(TENANCY) as session,
        ):
            session.run(_SLEEP, seconds=30)

    def test_past_it_nothing_is_begun(self, database: Database) -> None:
        with (
            deadline(time.monotonic() - 1),
            pytest.raises(CallDeadlineExceeded),
            database.transaction(TENANCY) as session,
        ):
            raise AssertionError(session)


class TestRefusals:
    def test_a_full_pool_is_overload_and_says_when_to_come_again(self, single: Database) -> None:
        with (
            single.transaction(TENANCY),
            deadline(time.monotonic() + 0.2),
            pytest.raises(Overloaded) as raised,
            single.transaction(TENANCY),
        ):
            pass
        assert raised.value.retry_after is not None

    def test_a_full_pool_refuses_before_the_deadline_has_passed(self, single: Database) -> None:
        end = time.monotonic() + 0.4
        with single.transaction(TENANCY), deadline(end), pytest.raises(Overloaded), single.transaction(TENANCY):
            pass
        assert time.monotonic() < end

    def test_a_pool_that_was_full_serves_again(self, single: Database) -> None:
        with (
            single.transaction(TENANCY),
            deadline(time.monotonic() + 0.1),
            pytest.raises(Overloaded),
            single.transaction(TENANCY),
        ):
            pass
        with single.transaction(TENANCY) as session:
            assert session.run(select(literal(1))) == 1

    def test_a_deadlock_asks_the_loser_to_try_again(self, database: Database) -> None:
        barrier = threading.Barrier(2)
        lost: list[BaseException] = []

        def cross(first: int, second: int) -> None:
            try:
                with database.transaction(TENANCY) as session:
                    session.run(_LOCK, number=first)
                    barrier.wait(5)
                    session.run(_LOCK, number=second)
            except ConcurrentUpdate as error:
                lost.append(error)

        threads = [threading.Thread(target=cross, args=pair) for pair in ((1, 2), (2, 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(lost) == 1
        assert isinstance(lost[0], ConcurrentUpdate)

    def test_a_connection_that_was_cut_is_a_missing_dependency_once(
        self, single: Database, owner: psycopg.Connection[object]
    ) -> None:
        def cut_off() -> None:
            with single.transaction(TENANCY) as session:
                owner.execute("select pg_terminate_backend(%s, 5000)", [_settings(session)["pid"]])
                session.run(select(literal(1)))

        with pytest.raises(DependencyUnavailable) as raised:
            cut_off()
        assert raised.value.metadata == {"dependency": "database"}
        assert raised.value.retry_after is not None
        with deadline(time.monotonic() + 10):
            _until_served(single)

    def test_a_migrated_table_under_a_prepared_statement_fails_once(
        self, single: Database, owner: psycopg.Connection[object]
    ) -> None:
        everything = text("select * from kernel.prepared")
        owner.execute("create table kernel.prepared (a int)")
        try:
            owner.execute("grant select on kernel.prepared to plinth_tenancy")
            for _ in range(3):
                with single.transaction(TENANCY) as session:
                    session.run(everything)
            owner.execute("alter table kernel.prepared add column b int")
            with pytest.raises(DependencyUnavailable), single.transaction(TENANCY) as session:
                session.run(everything)
            with deadline(time.monotonic() + 10):
                _until_served(single)
            with single.transaction(TENANCY) as session:
                assert session.run(everything) == 0
        finally:
            owner.execute("drop table kernel.prepared")

    def test_a_closed_pool_is_a_missing_dependency(self, kernel_url: str) -> None:
        database = Database(kernel_url, pool_size=1)
        database.close()
        with pytest.raises(DependencyUnavailable), database.transaction(TENANCY):
            pass


def _until_served(database: Database) -> None:
    """Until the deadline, which raises CallDeadlineExceeded."""
    while True:
        try:
            with database.transaction(Scope("plinth_tenancy", UUID(int=1))) as session:
                session.run(select(literal(1)))
        except DependencyUnavailable:
            continue
        return
