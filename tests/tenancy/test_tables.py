"""What the database itself refuses, whoever writes and whatever the code forgets."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors as pg
from sqlalchemy import select

from services.identity.tables import users
from services.kernel.db import Database, Scope
from services.kernel.tables import mail, outbox
from services.runtime import Runtime
from services.tenancy.tables import invites, members, metadata, roles, workspaces
from tests.tenancy.team import Team

_MEMBER = (
    "insert into tenancy.members (workspace_id, user_id, role, version, create_time, update_time)"
    " values (%s, %s, %s, 1, now(), now())"
)
_INVITE = (
    "insert into tenancy.invites (workspace_id, invite_id, email, role, state, token_hash, inviter_id, expire_time,"
    " create_time, update_time) values (%s, %s, 'a@example.com', %s, 'pending', %s, %s, now(), now(), now())"
)


def id_of(name: str) -> UUID:
    return UUID(name.rpartition("/")[2])


class TestForeignKeys:
    """Plain foreign keys are checked past row-level security; these hold the workspace too, so even the owner fails."""

    def test_member_cannot_have_a_role_of_another_workspace(self, team: Team, other_team: Team) -> None:
        foreign = id_of(other_team.new_role(other_team.owner, "members.read").name)
        with pytest.raises(pg.ForeignKeyViolation):
            team.database.execute(_MEMBER, [id_of(team.workspace), uuid4(), str(foreign)])

    def test_pending_invite_cannot_give_a_role_of_another_workspace(self, team: Team, other_team: Team) -> None:
        foreign = id_of(other_team.new_role(other_team.owner, "members.read").name)
        values = [id_of(team.workspace), uuid4(), str(foreign), uuid4().bytes, uuid4()]
        with pytest.raises(pg.ForeignKeyViolation):
            team.database.execute(_INVITE, values)

    def test_every_one_carries_the_workspace(self, owner_database: "psycopg.Connection[Any]") -> None:
        keys = owner_database.execute(
            "select conname, (select array_agg(attname::text) from unnest(conkey) k join pg_attribute a"
            " on a.attrelid = conrelid and a.attnum = k) from pg_constraint"
            " where contype = 'f' and connamespace = 'tenancy'::regnamespace"
        ).fetchall()
        assert len(keys) == 5
        assert all("workspace_id" in columns for _, columns in keys)

    def test_role_of_a_member_must_be_a_word_or_an_id(self, team: Team) -> None:
        with pytest.raises(pg.InvalidTextRepresentation):
            team.database.execute(_MEMBER, [id_of(team.workspace), uuid4(), "boss"])


class TestRowLevelSecurity:
    def test_is_forced_on_every_table(self, owner_database: "psycopg.Connection[Any]") -> None:
        rows = owner_database.execute(
            "select relname, relrowsecurity and relforcerowsecurity from pg_class"
            " where relkind = 'r' and relnamespace = 'tenancy'::regnamespace"
        ).fetchall()
        assert dict(rows) == {table.name: True for table in metadata.tables.values()}

    @pytest.mark.parametrize("table", [workspaces, members, roles, invites], ids=lambda table: table.name)
    def test_a_session_without_a_workspace_sees_nothing(self, team: Team, runtime: Runtime, table: Any) -> None:
        team.new_role(team.owner, "members.read")
        team.invite(team.owner, team.people.address())
        assert self.seen(runtime.database, table, Scope("plinth_tenancy")) == set()

    @pytest.mark.parametrize("table", [workspaces, members, roles, invites], ids=lambda table: table.name)
    def test_a_tenants_session_sees_its_own_rows_even_of_who_is_in_two(
        self, team: Team, other_team: Team, runtime: Runtime, table: Any
    ) -> None:
        for there in (team, other_team):
            there.new_role(there.owner, "members.read")
            there.invite(there.owner, there.people.address())
        team.people.join(other_team.owner, other_team.workspace, team.owner)
        scope = Scope("plinth_tenancy", id_of(team.workspace), team.owner.user_id)
        assert self.seen(runtime.database, table, scope) == {id_of(team.workspace)}

    def test_a_users_session_sees_their_own_memberships_and_writes_none(
        self, team: Team, other_team: Team, runtime: Runtime
    ) -> None:
        member = team.member
        scope = Scope("plinth_tenancy", None, member.user_id)
        assert self.seen(runtime.database, members, scope) == {id_of(team.workspace)}
        assert self.seen(runtime.database, workspaces, scope) == {id_of(team.workspace)}
        with runtime.database.transaction(scope) as session:
            assert session.run(members.update().values(role="owner")) == 0
            assert session.run(members.delete()) == 0
        with pytest.raises(pg.InsufficientPrivilege), runtime.database.transaction(scope) as session:
            session.run(members.insert().values(_row(other_team, member.user_id)))

    def test_a_tenants_session_writes_into_no_other_workspace(
        self, team: Team, other_team: Team, runtime: Runtime
    ) -> None:
        scope = Scope("plinth_tenancy", id_of(team.workspace), team.owner.user_id)
        with pytest.raises(pg.InsufficientPrivilege), runtime.database.transaction(scope) as session:
            session.run(members.insert().values(_row(other_team, team.owner.user_id)))
        with runtime.database.transaction(scope) as session:
            elsewhere = workspaces.c.workspace_id == id_of(other_team.workspace)
            assert session.run(workspaces.update().where(elsewhere).values(display_name="Mine")) == 0

    @pytest.mark.parametrize("table", [users, mail, outbox], ids=lambda table: table.fullname)
    def test_the_domains_role_reads_nothing_of_others(self, team: Team, runtime: Runtime, table: Any) -> None:
        scope = Scope("plinth_tenancy", id_of(team.workspace), team.owner.user_id)
        with pytest.raises(pg.InsufficientPrivilege), runtime.database.transaction(scope) as session:
            session.all(select(table), dict)

    @staticmethod
    def seen(database: Database, table: Any, scope: Scope) -> set[UUID]:
        with database.transaction(scope) as session:
            return set(session.all(select(table.c.workspace_id), lambda workspace_id: workspace_id))


def _row(team: Team, user_id: UUID) -> dict[str, object]:
    times = {"create_time": "2026-01-01T00:00:00Z", "update_time": "2026-01-01T00:00:00Z"}
    return {"workspace_id": id_of(team.workspace), "user_id": user_id, "role": "owner", "version": 1, **times}
