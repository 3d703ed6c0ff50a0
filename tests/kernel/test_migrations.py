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

    def test_need_no_contrib_module_and_no_gin_index(self, own_postgres: EmbeddedPostgres) -> None:
        """Under row-level security a GIN index is not used for what its operators, which may leak, would find."""
        migrations.migrate(own_postgres.url())
        with psycopg.connect(own_postgres.url()) as connection:
            extensions = connection.execute("select extname::text from pg_extension order by 1").fetchall()
            assert extensions == [("plpgsql",), ("vector",)]
            indexes = "select relname from pg_class join pg_am on pg_am.oid = relam where amname = 'gin'"
            assert connection.execute(indexes).fetchall() == []

    def test_one_of_two_at_once_finds_it_done(self, own_postgres: EmbeddedPostgres) -> None:
        head = migrations.pending(own_postgres.url())[-1]
        outcomes = at_once(2, lambda: migrations.migrate(own_postgres.url()))
        assert sorted(outcomes, key=str) == [(head, head), (None, head)]
        assert migrations.pending(own_postgres.url()) == []
