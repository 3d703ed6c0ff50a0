"""No row of one tenant is seen, written or pointed at by another, whatever the code above the database forgets."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.timestamp_pb2 import Timestamp
from psycopg import errors as pg
from psycopg import sql
from psycopg.types.json import Jsonb

from plinth.documents.v1 import document_service_pb2
from plinth.events.v1 import event_service_pb2
from plinth.projects.v1 import activity_service_pb2
from plinth.tenancy.v1 import invite_pb2, invite_service_pb2, role_pb2, role_service_pb2
from services.kernel.sequencer import Sequencer
from services.runtime import Runtime
from services.wiring import Mesh
from tests.contract.factories import RESOURCES, Scene
from tests.faults import search_rows
from tests.projects.worker import working
from tests.support.people import People, Person
from tests.support.waiting import until

# A secret's hash is looked up before its workspace is known, and tells nothing: whoever could guess one has the secret.
HASHES_OF_SECRETS = {("tenancy.invites", "token_hash"), ("identity.api_keys", "key_hash")}
# Columns that PostgreSQL computes, and the one to set in their stead.
SOURCES = {
    ("tenancy.members", "custom_role_id"): "role",
    ("tenancy.invites", "pending_role_id"): "role",
}

# Of the domains. What all of them share, the kernel's schemas, has policies and tests of its own.
_TENANT_TABLES = """
    select format('%s.%s', nspname, relname), relrowsecurity and relforcerowsecurity
    from pg_class c join pg_namespace n on n.oid = relnamespace
    join pg_attribute on attrelid = c.oid and attname = 'workspace_id' and not attisdropped
    where relkind in ('r', 'p') and nspname not in ('kernel', 'jobs', 'pg_catalog', 'information_schema') order by 1
"""
_FOREIGN_KEYS = """
    with columns as (
        select k.oid, a.attname::text as here, b.attname::text as there, position
        from pg_constraint k, unnest(conkey, confkey) with ordinality as pair (x, y, position)
        join pg_attribute a on a.attnum = x join pg_attribute b on b.attnum = y
        where a.attrelid = conrelid and b.attrelid = confrelid
    )
    select conname::text, conrelid::regclass::text, confrelid::regclass::text,
        array_agg(here order by position), array_agg(there order by position)
    from pg_constraint k join columns using (oid)
    where contype = 'f' and conrelid::regclass::text = any(%s) group by k.oid, conname, conrelid, confrelid order by 1
"""
_GENERATED = "select attname from pg_attribute where attrelid = %s::regclass and attgenerated <> ''"
_JSONB = psycopg.postgres.types["jsonb"].oid
_UNIQUE_INDEXES = """
    select indrelid::regclass::text, indexrelid::regclass::text, indisprimary,
        pg_get_indexdef(indexrelid, 1, true)
    from pg_index where indisunique and indrelid::regclass::text = any(%s) order by 2
"""
_POLICIES = """
    select polname::text, roles.rolname::text, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
    from pg_policy, unnest(polroles) as granted join pg_roles roles on roles.oid = granted
    where polrelid = %s::regclass
"""


@dataclass(frozen=True)
class ForeignKey:
    name: str
    table: str
    target: str
    columns: list[str]
    target_columns: list[str]


@dataclass(frozen=True)
class Tenant:
    """A workspace with a row in every table."""

    owner: Person
    workspace_id: UUID


# No worker runs here that would attempt a delivery.
_ATTEMPT = """
    insert into events.webhook_attempts
    select workspace_id, endpoint_id, delivery_id, 1, now(), 1, '', '{}', 200, '{}', '', '', ''
    from events.webhook_deliveries where workspace_id = %s limit 1
"""


def tenant(people: People, database: "psycopg.Connection[Any]") -> Tenant:
    owner = people.new("owner")
    workspace = people.workspace_of(owner).name
    role = owner.stubs.roles.CreateRole(
        role_service_pb2.CreateRoleRequest(
            parent=workspace, role=role_pb2.Role(display_name="Special", permissions=["workspace.read"])
        )
    ).role
    people.member(owner, workspace, role.name.rpartition("/")[2])
    invite = invite_pb2.Invite(email=people.address(), role=role.name)
    owner.stubs.invites.CreateInvite(invite_service_pb2.CreateInviteRequest(parent=workspace, invite=invite))
    scene = Scene(people, owner, workspace)
    for make in RESOURCES.values():
        make(scene)
    replay = event_service_pb2.ReplayEventsRequest(
        parent=workspace, since=Timestamp(seconds=0), target=RESOURCES["workspaces/*/webhookEndpoints/*"](scene)
    )
    owner.stubs.events.ReplayEvents(replay)
    owner.stubs.documents.AppendUpload(
        document_service_pb2.AppendUploadRequest(
            name=RESOURCES["workspaces/*/uploads/*"](scene), content=HttpBody(data=b"part")
        )
    )
    activity = activity_service_pb2.ListActivityRequest(parent=workspace)
    until(lambda: owner.stubs.activity.ListActivity(activity).activities, "what was done is in the activity")
    workspace_id = UUID(workspace.rpartition("/")[2])
    database.execute(_ATTEMPT, [workspace_id])
    search_rows.fill(database, workspace_id)
    return Tenant(owner, workspace_id)


@pytest.fixture(scope="module")
def _events_are_logged(sequencer: Sequencer, runtime: Runtime, mesh: Mesh) -> Iterator[None]:
    with working(runtime, [one for one in mesh.subscriptions if one.name == "projects.activity"]):
        yield


@pytest.fixture(scope="module")
def ours(people: People, owner: "psycopg.Connection[Any]", _events_are_logged: None) -> Tenant:
    return tenant(people, owner)


@pytest.fixture(scope="module")
def theirs(people: People, owner: "psycopg.Connection[Any]", _events_are_logged: None) -> Tenant:
    return tenant(people, owner)


@pytest.fixture(scope="module")
def owner(owner_url: str) -> "Iterator[psycopg.Connection[Any]]":
    """The database's owner, whom no policy binds."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def app(app_url: str) -> "Iterator[psycopg.Connection[Any]]":
    """The app's login, in a transaction that is rolled back."""
    with psycopg.connect(app_url) as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture(scope="module")
def tables(owner: "psycopg.Connection[Any]") -> dict[str, bool]:
    """The tables of tenants' rows, and whether they force row-level security."""
    return dict(owner.execute(_TENANT_TABLES).fetchall())


@pytest.fixture(scope="module")
def foreign_keys(owner: "psycopg.Connection[Any]", tables: dict[str, bool]) -> list[ForeignKey]:
    return [ForeignKey(*row) for row in owner.execute(_FOREIGN_KEYS, [list(tables)])]


def act_as(connection: "psycopg.Connection[Any]", role: str, workspace: UUID | None, user: UUID | None = None) -> None:
    """As a unit of work begins."""
    connection.execute(
        "select set_config('role', %s, true), set_config('plinth.workspace', %s, true),"
        " set_config('plinth.user', %s, true)",
        [role, str(workspace or ""), str(user or "")],
    )


def domain_role(table: str) -> str:
    return f"plinth_{table.partition('.')[0]}"


def names(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))


class TestTables:
    def test_there_are_those_that_we_know_of(self, tables: dict[str, bool]) -> None:
        known = {"tenancy.workspaces", "tenancy.roles", "tenancy.members", "tenancy.invites", "identity.api_keys"}
        assert set(tables) >= known

    def test_each_forces_row_level_security(self, tables: dict[str, bool]) -> None:
        assert {table for table, forced in tables.items() if not forced} == set()

    def test_each_has_the_tenants_policy(self, owner: "psycopg.Connection[Any]", tables: dict[str, bool]) -> None:
        for table in tables:
            policies = {(name, role): (using, check) for name, role, using, check in owner.execute(_POLICIES, [table])}
            using, check = policies["tenant", domain_role(table)]
            assert using.startswith("(workspace_id = ( SELECT ")
            assert "current_setting('plinth.workspace'::text, true)" in using
            # None: rows that are written have to pass the same test.
            assert check is None
            # Whatever else the domain's own role sees, it sees outside of any workspace alone.
            for (name, role), (more, _) in policies.items():
                if role == domain_role(table) and name != "tenant":
                    assert "current_setting('plinth.workspace'::text, true), ''::text))::uuid" in more
                    assert "IS NULL" in more

    def test_each_key_begins_with_the_workspace(
        self, owner: "psycopg.Connection[Any]", tables: dict[str, bool]
    ) -> None:
        found = owner.execute(_UNIQUE_INDEXES, [list(tables)]).fetchall()
        assert {table for table, _, primary, _ in found if primary} == set(tables)
        others = {(table, first) for table, _, _, first in found if first != "workspace_id"}
        assert others == HASHES_OF_SECRETS

    def test_no_view_and_no_function_goes_past_the_policies(self, owner: "psycopg.Connection[Any]") -> None:
        views = owner.execute(
            "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = relnamespace"
            " where relkind in ('v', 'm') and nspname not in ('pg_catalog', 'information_schema')"
            " and not coalesce('security_invoker=true' = any(reloptions), false)"
        ).fetchall()
        functions = owner.execute(
            "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = pronamespace"
            " where prosecdef and nspname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert (views, functions) == ([], [])


class TestForeignKeys:
    def test_each_has_the_workspace_on_both_sides(self, foreign_keys: list[ForeignKey]) -> None:
        assert foreign_keys
        for key in foreign_keys:
            assert ("workspace_id", "workspace_id") in zip(key.columns, key.target_columns, strict=True), key

    @pytest.mark.parametrize("session", ["the owner's", "a tenant's"])
    def test_none_takes_a_row_that_points_at_another_tenants(
        self,
        ours: Tenant,
        theirs: Tenant,
        foreign_keys: list[ForeignKey],
        app: "psycopg.Connection[Any]",
        owner: "psycopg.Connection[Any]",
        session: str,
    ) -> None:
        for key in foreign_keys:
            for column, target in zip(key.columns, key.target_columns, strict=True):
                if column == "workspace_id":
                    continue
                target_id = a_value(owner, key.target, target, theirs.workspace_id)
                source = SOURCES.get((key.table, column))
                statement = sql.SQL(
                    "update {0} set {1} = %s where ctid = (select ctid from {0} where workspace_id = %s"
                    " and ({2} is not null or {3}) limit 1)"
                ).format(
                    names(key.table), sql.Identifier(source or column), sql.Identifier(column), sql.Literal(not source)
                )
                if session == "a tenant's":
                    act_as(app, domain_role(key.table), ours.workspace_id, ours.owner.user_id)
                connection = owner if session == "the owner's" else app
                with pytest.raises(pg.ForeignKeyViolation) as refusal, connection.transaction():
                    connection.execute(statement, [str(target_id), ours.workspace_id])
                # A column may be part of several keys; whichever is looked at first refuses.
                assert refusal.value.diag.constraint_name in {k.name for k in foreign_keys if column in k.columns}

    def test_rows_of_a_tenant_move_to_no_other(
        self, ours: Tenant, theirs: Tenant, tables: dict[str, bool], app: "psycopg.Connection[Any]"
    ) -> None:
        for table in tables:
            act_as(app, domain_role(table), ours.workspace_id, ours.owner.user_id)
            move = sql.SQL("update {} set workspace_id = %s").format(names(table))
            with pytest.raises(pg.InsufficientPrivilege, match="row-level security"), app.transaction():
                app.execute(move, [theirs.workspace_id])


def a_value(connection: "psycopg.Connection[Any]", table: str, column: str, workspace_id: UUID) -> object:
    """Of a row of this workspace; a table without one needs a line in `tenant`."""
    query = sql.SQL("select {} from {} where workspace_id = %s").format(sql.Identifier(column), names(table))
    row = connection.execute(query, [workspace_id]).fetchone()
    assert row is not None, f"{table} has no row to point at"
    return row[0]


class TestSessions:
    def test_a_tenants_sees_and_changes_its_own_rows_alone(
        self, ours: Tenant, theirs: Tenant, tables: dict[str, bool], app: "psycopg.Connection[Any]"
    ) -> None:
        for table in tables:
            act_as(app, domain_role(table), ours.workspace_id, ours.owner.user_id)
            seen = app.execute(sql.SQL("select distinct workspace_id from {}").format(names(table))).fetchall()
            assert seen == [(ours.workspace_id,)], table
            delete = sql.SQL("delete from {} where workspace_id = %s").format(names(table))
            assert app.execute(delete, [theirs.workspace_id]).rowcount == 0

    @pytest.mark.parametrize("unset", ["", None])
    def test_without_a_workspace_sees_and_changes_nothing(
        self, ours: Tenant, tables: dict[str, bool], app: "psycopg.Connection[Any]", unset: str | None
    ) -> None:
        for table in tables:
            app.execute("select set_config('role', %s, true)", [domain_role(table)])
            if unset is not None:
                app.execute("select set_config('plinth.workspace', %s, true)", [unset])
            count = app.execute(sql.SQL("select count(*) from {}").format(names(table))).fetchone()
            assert count == (0,), table
            assert app.execute(sql.SQL("delete from {}").format(names(table))).rowcount == 0

    def test_without_a_workspace_writes_nothing(
        self, ours: Tenant, tables: dict[str, bool], app: "psycopg.Connection[Any]", owner: "psycopg.Connection[Any]"
    ) -> None:
        for table in tables:
            row = owner.execute(
                sql.SQL("select * from {} where workspace_id = %s").format(names(table)), [ours.workspace_id]
            )
            found = zip(row.description or (), row.fetchone() or (), strict=True)
            values = {column.name: Jsonb(value) if column.type_code == _JSONB else value for column, value in found}
            for (computed,) in owner.execute(_GENERATED, [table]).fetchall():
                del values[computed]
            act_as(app, domain_role(table), None, ours.owner.user_id)
            insert = sql.SQL("insert into {} ({}) values ({})").format(
                names(table),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join(sql.Placeholder() * len(values)),
            )
            # A new workspace, and somebody else's name on it: no other rule stands in the way.
            values |= {"workspace_id": uuid4()} | ({"creator_id": uuid4()} if "creator_id" in values else {})
            with pytest.raises(pg.InsufficientPrivilege, match="row-level security"), app.transaction():
                app.execute(insert, list(values.values()))

    @pytest.mark.parametrize("domain", ["identity", "tenancy", "projects", "events", "documents", "search"])
    @pytest.mark.parametrize("table", ["outbox", "audit"])
    def test_a_tenants_appends_to_the_log_of_no_other(
        self, ours: Tenant, theirs: Tenant, app: "psycopg.Connection[Any]", domain: str, table: str
    ) -> None:
        for workspace, allowed in ((ours.workspace_id, True), (theirs.workspace_id, False), (None, False)):
            act_as(app, f"plinth_{domain}", ours.workspace_id, ours.owner.user_id)
            if allowed:
                append(app, table, workspace)
            else:
                with pytest.raises(pg.InsufficientPrivilege, match="row-level security"), app.transaction():
                    append(app, table, workspace)

    def test_a_tenants_reads_no_other_audit_log(
        self, ours: Tenant, theirs: Tenant, app: "psycopg.Connection[Any]"
    ) -> None:
        act_as(app, "plinth_tenancy", ours.workspace_id, ours.owner.user_id)
        assert app.execute("select distinct workspace_id from kernel.audit").fetchall() == [(ours.workspace_id,)]

    def test_a_domain_sees_no_answers_of_another(self, ours: Tenant, app: "psycopg.Connection[Any]") -> None:
        insert = (
            "insert into kernel.idempotency (principal, workspace_id, method, request_id, payload_hash, create_time)"
            " values ('users/x', %s, '/m', %s, '', now())"
        )
        act_as(app, "plinth_tenancy", ours.workspace_id)
        app.execute(insert, [ours.workspace_id, str(uuid4())])
        assert app.execute("select distinct owner from kernel.idempotency").fetchall() == [("tenancy",)]
        act_as(app, "plinth_identity", ours.workspace_id)
        assert ("tenancy",) not in app.execute("select distinct owner from kernel.idempotency").fetchall()


_APPEND = {
    "outbox": (
        "insert into kernel.outbox (id, workspace_id, type, source, subject, time, data_schema, data, actor,"
        " traceparent) values (gen_random_uuid(), %s, 't', 's', 's', now(), 'd', '', 'a', '')"
    ),
    "audit": (
        "insert into kernel.audit (id, workspace_id, time, actor_type, actor, action, resource, detail, source,"
        " user_agent, request_id, trace_id) values (gen_random_uuid(), %s, now(), '', '', '', '', '{}', '', '', '', '')"
    ),
}


def append(connection: "psycopg.Connection[Any]", table: str, workspace_id: UUID | None) -> None:
    connection.execute(_APPEND[table], [workspace_id])


class TestLint:
    def test_refuses_sql_out_of_strings(self) -> None:
        """Policies stop forgotten predicates, not injected SQL."""
        source = "def find(session, name):\n    return session.run(f\"select * from users where name = '{name}'\")\n"
        command = [str(Path(sys.executable).with_name("ruff")), "check", "--output-format=concise", "--no-cache", "-"]
        root = Path(__file__).parents[2]
        for path in ("services/tenancy/repository/members.py", "services/kernel/outbox.py", "interceptors/auth.py"):
            checked = subprocess.run(
                [*command, f"--stdin-filename={path}"],
                input=source,
                capture_output=True,
                text=True,
                cwd=root,
                check=False,
            )
            assert "S608" in checked.stdout, path
