"""PostgreSQL stops under load and starts again: refusals meanwhile, the same pool afterwards."""

import time

import psycopg
import pytest
from sqlalchemy import literal, select

from services.kernel.db import Database, Scope
from services.kernel.errors import DependencyUnavailable
from services.mesh.postgres import EmbeddedPostgres
from tests.support.acting import at_once, deadline
from tests.support.waiting import PATIENCE_SECONDS, SLOWNESS_SECONDS

NOBODY = Scope("none")


@pytest.mark.xdist_group("own-postgres")
class TestOutage:
    def test_calls_are_refused_at_once_and_served_again_within_five_seconds(
        self, own_postgres: EmbeddedPostgres
    ) -> None:
        database = Database(own_postgres.url(), pool_size=4)
        try:
            at_once(8, lambda: _ask(database, 5))
            own_postgres.stop()
            # Who waits for a connection when it begins is refused before the call's deadline, who comes later at once.
            assert at_once(8, lambda: _refusal(database)) == ["database"] * 8
            begun = time.monotonic()
            for _ in range(3):
                assert at_once(8, lambda: _refusal(database)) == ["database"] * 8
            assert time.monotonic() - begun < 5  # three rounds that wait take 6 s
            own_postgres.start()
            begun = time.monotonic()
            _until_served(database)
            assert time.monotonic() - begun < 5 + SLOWNESS_SECONDS
            at_once(8, lambda: _ask(database, 5))
        finally:
            database.close()

    def test_a_long_outage_ends_as_well(self, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services.kernel.db._RECONNECT_SECONDS", 0.1)
        database = Database(own_postgres.url(), pool_size=4)
        try:
            _ask(database, 5)
            own_postgres.stop()
            end = time.monotonic() + PATIENCE_SECONDS
            while database._pool.get_stats()["pool_size"] > 0:  # until the pool has given up
                _refusal(database)
                assert time.monotonic() < end
            own_postgres.start()
            begun = time.monotonic()
            _until_served(database)
            assert time.monotonic() - begun < 5 + SLOWNESS_SECONDS
        finally:
            database.close()

    def test_the_work_under_way_is_refused_and_lost(self, own_postgres: EmbeddedPostgres) -> None:
        with psycopg.connect(own_postgres.url(), autocommit=True) as connection:
            connection.execute("create table things (id int)")
        database = Database(own_postgres.url(), pool_size=1)
        try:
            with pytest.raises(DependencyUnavailable):
                _commit_too_late(database, own_postgres)
            own_postgres.start()
            _until_served(database)
            with psycopg.connect(own_postgres.url()) as connection:
                assert connection.execute("select id from things").fetchall() == []
        finally:
            database.close()


def _commit_too_late(database: Database, postgres: EmbeddedPostgres) -> None:
    with database.transaction(NOBODY) as session:
        session._connection.execute("insert into things values (1)")
        postgres.stop()
        session.commit()


def _ask(database: Database, seconds: float) -> int:
    with deadline(time.monotonic() + seconds), database.transaction(NOBODY) as session:
        return session.run(select(literal(1)))


def _refusal(database: Database) -> str:
    with pytest.raises(DependencyUnavailable) as raised:
        _ask(database, 5)
    return str(raised.value.metadata["dependency"])


def _until_served(database: Database) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        try:
            _ask(database, 5)
        except DependencyUnavailable:
            continue
        return
    raise AssertionError("never served again")
