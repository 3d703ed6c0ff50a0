"""Migrations: forth, back and forth again, by one process or many."""

import psycopg
import pytest

from services.kernel import migrations
from services.mesh.postgres import EmbeddedPostgres
from tests.support.acting import at_once


def _of_ours(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select nspname::text from pg_namespace where nspname in ('kernel', 'identity', 'tenancy')"
            " union select rolname::text from pg_roles where rolname like 'plinth%'"
        ).fetchall()
    return {name for (name,) in rows}


@pytest.mark.xdist_group("own-postgres")
class TestMigrate:
    def test_goes_up_down_to_nothing_and_up_again(self, own_postgres: EmbeddedPostgres) -> None:
        url = own_postgres.url()
        revisions = migrations.pending(url)
        assert revisions[:3] == ["0001", "0002", "0003"]
        assert migrations.migrate(url) == (None, revisions[-1])
        assert migrations.pending(url) == []
        first = _of_ours(url)
        assert {"kernel", "identity", "tenancy", "plinth_app", "plinth_kernel", "plinth_tenancy_system"} <= first
        assert migrations.migrate(url) == (revisions[-1], revisions[-1])
        assert migrations.migrate(url, revisions[0]) == (revisions[-1], revisions[0])
        assert migrations.pending(url) == revisions[1:]
        assert migrations.migrate(url, "base") == (revisions[0], None)
        assert _of_ours(url) == set()
        assert migrations.migrate(url) == (None, revisions[-1])
        assert _of_ours(url) == first

    def test_one_of_two_at_once_finds_it_done(self, own_postgres: EmbeddedPostgres) -> None:
        head = migrations.pending(own_postgres.url())[-1]
        outcomes = at_once(2, lambda: migrations.migrate(own_postgres.url()))
        assert sorted(outcomes, key=str) == [(head, head), (None, head)]
        assert migrations.pending(own_postgres.url()) == []
