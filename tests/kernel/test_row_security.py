"""The kernel's tables: who may append what for whom, and who may look."""

from uuid import UUID

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import text

from services.kernel.db import Database, Scope, Session
from services.kernel.ids import new_id
from services.kernel.unit_of_work import Units
from tests.kernel.conftest import Owner

_APPEND = {
    "outbox": text(
        "insert into kernel.outbox values"
        " (default, gen_random_uuid(), :workspace, '', '', :mark, now(), '', '', '', '')"
    ),
    "audit": text(
        "insert into kernel.audit values"
        " (gen_random_uuid(), :workspace, now(), '', '', null, '', :mark, '{}', '', '', '', '')"
    ),
}
_MARKS = {
    "outbox": "select workspace_id from kernel.outbox where subject = %s",
    "audit": "select workspace_id from kernel.audit where resource = %s",
}
_LOOK = {table: text(f"select * from kernel.{table}") for table in ("outbox", "audit", "mail")}  # noqa: S608  # constants


def _append(database: Database, scope: Scope, table: str, workspace: UUID | None, mark: str) -> None:
    with database.transaction(scope) as session:
        session.run(_APPEND[table], workspace=workspace, mark=mark)
        session.commit()


@pytest.mark.parametrize("table", ["outbox", "audit"])
class TestAppend:
    def test_a_tenants_session_appends_for_its_workspace(self, database: Database, owner: Owner, table: str) -> None:
        workspace, mark = new_id(), str(new_id())
        _append(database, Scope("plinth_tenancy", workspace), table, workspace, mark)
        assert owner.execute(_MARKS[table], [mark]).fetchall() == [{"workspace_id": workspace}]

    @pytest.mark.parametrize("other", [new_id(), None])
    def test_a_tenants_session_appends_for_no_other(
        self, database: Database, owner: Owner, table: str, other: UUID | None
    ) -> None:
        mark = str(new_id())
        with pytest.raises(InsufficientPrivilege):
            _append(database, Scope("plinth_tenancy", new_id()), table, other, mark)
        assert owner.execute(_MARKS[table], [mark]).fetchall() == []

    @pytest.mark.parametrize("verb", ["update", "delete"])
    def test_nobody_changes_what_was_appended(self, database: Database, table: str, verb: str) -> None:
        change = {"update": f"update kernel.{table} set source = 'x'", "delete": f"delete from kernel.{table}"}[verb]  # noqa: S608
        for role in ("plinth_tenancy", "plinth_tenancy_system", "plinth_identity", "plinth_kernel"):
            with pytest.raises(InsufficientPrivilege), database.transaction(Scope(role)) as session:
                session.run(text(change))


class TestLook:
    @pytest.mark.parametrize("table", ["outbox", "audit", "mail"])
    def test_a_domain_that_is_not_told_so_reads_none_of_it(self, database: Database, table: str) -> None:
        for role in ("plinth_identity", "plinth_identity_system"):
            with pytest.raises(InsufficientPrivilege), database.transaction(Scope(role)) as session:
                session.run(_LOOK[table])

    @pytest.mark.parametrize("table", ["outbox", "mail"])
    def test_tenancy_reads_neither_events_nor_mail(self, database: Database, table: str) -> None:
        with (
            pytest.raises(InsufficientPrivilege),
            database.transaction(Scope("plinth_tenancy", new_id())) as session,
        ):
            session.run(_LOOK[table])

    def test_tenancy_reads_the_audit_of_its_workspace_only(self, database: Database) -> None:
        mine, other, mark = new_id(), new_id(), str(new_id())
        for workspace in (mine, other):
            _append(database, Scope("plinth_tenancy", workspace), "audit", workspace, mark)
        look = text("select workspace_id from kernel.audit where resource = :mark")
        for scope, seen in ((mine, [mine]), (other, [other]), (None, [])):
            with database.transaction(Scope("plinth_tenancy", scope)) as session:
                assert session.all(look, lambda workspace_id: workspace_id, mark=mark) == seen

    def test_the_login_itself_may_do_nothing(self, kernel_url: str) -> None:
        with psycopg.connect(kernel_url, autocommit=True) as connection:
            for schema, table in (("kernel", "outbox"), ("tenancy", "workspaces"), ("identity", "users")):
                with pytest.raises(InsufficientPrivilege):
                    connection.execute(f"select 1 from {schema}.{table}")  # noqa: S608  # constants


class TestIdempotency:
    def test_a_domain_sees_its_own_keys_only(self, database: Database) -> None:
        key = str(new_id())
        insert = text(
            "insert into kernel.idempotency (principal, workspace_id, method, request_id, payload_hash, create_time)"
            " values (:key, :nil, '', '', '', now())"
        )
        look = text("select 1 as one from kernel.idempotency where principal = :key")
        with database.transaction(Scope("plinth_tenancy")) as session:
            session.run(insert, key=key, nil=UUID(int=0))
            session.commit()
        seen: dict[str, int] = {}
        for role in ("plinth_tenancy", "plinth_tenancy_system", "plinth_identity", "plinth_kernel"):
            with database.transaction(Scope(role)) as session:
                seen[role] = session.run(look, key=key)
        assert seen == {"plinth_tenancy": 1, "plinth_tenancy_system": 1, "plinth_identity": 0, "plinth_kernel": 1}

    def test_a_domain_cannot_write_a_key_of_another(self, database: Database) -> None:
        insert = text(
            "insert into kernel.idempotency"
            " (principal, workspace_id, method, request_id, owner, payload_hash, create_time)"
            " values (:key, :nil, '', '', 'identity', '', now())"
        )
        with pytest.raises(InsufficientPrivilege), database.transaction(Scope("plinth_tenancy")) as session:
            session.run(insert, key=str(new_id()), nil=UUID(int=0))


class TestRoles:
    def test_no_role_of_ours_passes_row_level_security(self, owner: Owner) -> None:
        roles = owner.execute("select * from pg_roles where rolname like 'plinth%'").fetchall()
        assert {"plinth_app", "plinth_kernel", "plinth_tenancy", "plinth_identity"} <= {r["rolname"] for r in roles}
        assert [r["rolname"] for r in roles if r["rolbypassrls"] or r["rolsuper"] or r["rolcreaterole"]] == []

    def test_every_table_of_ours_forces_it_even_on_its_owner(self, owner: Owner) -> None:
        lax = owner.execute(
            "select oid::regclass::text as name from pg_class where relkind in ('r', 'p')"
            " and relnamespace::regnamespace::text in ('kernel', 'identity', 'tenancy')"
            " and not (relrowsecurity and relforcerowsecurity)"
        ).fetchall()
        assert lax == []

    def test_the_login_of_one_domain_cannot_act_as_another(self, kernel_url: str) -> None:
        login = kernel_url.replace("plinth_app", "plinth_app_tenancy")
        with psycopg.connect(login, autocommit=True) as connection:
            connection.execute("set role plinth_tenancy")
            connection.execute("reset role")
            with pytest.raises(InsufficientPrivilege):
                connection.execute("set role plinth_identity")

    @pytest.mark.usefixtures("caller")
    def test_the_app_cannot_become_the_owner(self, units: Units[Session]) -> None:
        with units() as uow, pytest.raises(InsufficientPrivilege):
            uow.session.run(text("set local role postgres"))
