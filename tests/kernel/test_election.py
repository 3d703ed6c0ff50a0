"""Elections: one holds a seat, and gives it up by dying, by leaving, or by being silent for too long."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import structlog.testing
from psycopg import sql

from services.kernel import election
from services.kernel.db import Database
from services.kernel.election import stand
from tests.support.waiting import until

OFFICE, OTHER = 0x54455354, 0x54455355
FROZEN = 0.3
Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(election, "_FROZEN_SECONDS", FROZEN)


@pytest.fixture
def connections(database: Database) -> Iterator[list[Connection]]:
    with ExitStack() as stack:
        yield [stack.enter_context(database.connect()) for _ in range(3)]


def _silent(connection: Connection, onlooker: Connection) -> bool:
    """Whether it has asked nothing for longer than anybody waits."""
    (seconds,) = onlooker.execute(
        "select extract(epoch from clock_timestamp() - state_change) from pg_stat_activity where pid = %s",
        [connection.info.backend_pid],
    ).fetchone() or (0,)
    return bool(seconds > 2 * FROZEN)


def test_a_seat_is_won_once(connections: list[Connection]) -> None:
    first, second, _ = connections
    assert sorted(stand(first, OFFICE, [1, -2])) == [-2, 1]
    assert stand(second, OFFICE, [1, -2, 3]) == [3]


def test_who_leaves_gives_it_up(connections: list[Connection]) -> None:
    first, second, _ = connections
    stand(first, OFFICE, [1])
    first.close()
    until(lambda: stand(second, OFFICE, [1]) == [1], "the seat")


def test_who_holds_one_and_is_silent_for_long_is_ended(connections: list[Connection]) -> None:
    frozen, second, onlooker = connections
    stand(frozen, OFFICE, [1])
    assert stand(second, OFFICE, [1]) == []
    until(lambda: _silent(frozen, onlooker), "silence")
    until(lambda: stand(second, OFFICE, [1]) == [1], "the seat")
    with pytest.raises(psycopg.OperationalError):
        frozen.execute("select 1")


def test_a_sign_of_life_keeps_it(connections: list[Connection]) -> None:
    leader, bystander, onlooker = connections
    stand(leader, OFFICE, [1])
    stand(bystander, OTHER, [1])

    def silence() -> bool:
        assert stand(leader, OFFICE, []) == []
        assert stand(onlooker, OFFICE, [1]) == []
        return _silent(bystander, onlooker)

    until(silence, "silence of somebody else, for as long")
    assert leader.execute("select 1").fetchone() == (1,)


def test_holders_of_other_offices_and_of_none_are_left_alone(connections: list[Connection]) -> None:
    elsewhere, nobody, second = connections
    stand(elsewhere, OTHER, [1])
    # The same key as one number, as others use such locks.
    nobody.execute("select pg_advisory_lock(%s)", [OFFICE << 32 | 1])
    until(lambda: _silent(elsewhere, second) and _silent(nobody, second), "silence")
    assert stand(second, OFFICE, [1]) == [1]
    for connection in (elsewhere, nobody):
        assert connection.execute("select 1").fetchone() == (1,)


class TestHoldersOfAnotherLogin:
    """What may not be ended is told, for it would lead for ever."""

    @pytest.fixture
    def foreign(self, kernel_owner_url: str) -> Iterator[Connection]:
        """A holder of a seat that logged in as a superuser."""
        with psycopg.connect(kernel_owner_url, autocommit=True) as connection:
            assert stand(connection, OFFICE, [1]) == [1]
            yield connection

    @pytest.fixture
    def watcher(self, foreign: Connection, kernel_url: str) -> Iterator[Connection]:
        """A connection that sees what others do, and may end nobody."""
        name = f"watcher_{uuid4().hex[:8]}"
        foreign.execute(sql.SQL("create role {} login in role pg_read_all_stats").format(sql.Identifier(name)))
        with psycopg.connect(kernel_url.replace("plinth_app", name), autocommit=True) as connection:
            yield connection
        foreign.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))

    def test_who_cannot_see_whether_they_are_silent_says_so(
        self, foreign: Connection, connections: list[Connection]
    ) -> None:
        login = foreign.info.user
        with structlog.testing.capture_logs() as logged:
            assert stand(connections[0], OFFICE, [1, 2]) == [2]
            assert stand(connections[0], OFFICE, []) == []
        assert [(line["event"], line["logins"]) for line in logged] == [("election.hidden", [login])]

    def test_an_end_that_is_refused_is_told_and_costs_no_other_seat(
        self, foreign: Connection, watcher: Connection
    ) -> None:
        until(lambda: _silent(foreign, watcher), "silence")
        with structlog.testing.capture_logs() as logged:
            assert stand(watcher, OFFICE, [1, 2]) == [2]
        pid = foreign.info.backend_pid
        assert [(line["event"], line["pid"]) for line in logged] == [("election.refused", pid)]
