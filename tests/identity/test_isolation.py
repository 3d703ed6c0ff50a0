"""What no statement of identity can reach, whatever it says."""

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from services.kernel.db import Database, Scope
from tests.identity.island import Island

TABLES_OF_USERS = ("users", "passwords", "links", "sessions", "known_sources")


@pytest.mark.parametrize("table", TABLES_OF_USERS)
def test_a_session_of_one_user_sees_no_other_user(island: Island, island_database: Database, table: str) -> None:
    me, other = island.new(), island.new()
    with island.acting():
        for person in (me, other):
            island.services.passwords.start_reset(person.user.email)
    statement = SQL("select {} from {}").format(
        Identifier("id" if table == "users" else "user_id"), Identifier("identity", table)
    )
    with island_database.transaction(Scope("plinth_identity", user_id=me.user.id)) as session:
        rows = session._connection.execute(statement).fetchall()
    assert {row[0] for row in rows} == {me.user.id}
    with island_database.transaction(Scope("plinth_identity")) as session:
        assert session._connection.execute(statement).fetchall() == []


@pytest.mark.parametrize("table", ["operators", "throttles", "signing_keys"])
@pytest.mark.parametrize("statement", ["select 1 from identity.{}", "delete from identity.{}"])
def test_no_session_of_a_user_reaches_what_is_the_system_s(
    island: Island, island_database: Database, table: str, statement: str
) -> None:
    me = island.new()
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        island_database.transaction(Scope("plinth_identity", user_id=me.user.id)) as session,
    ):
        session._connection.execute(statement.format(table))


def test_a_workspace_s_session_sees_its_own_keys_only(island: Island, island_database: Database) -> None:
    creator = island.new().user.id
    workspaces = [creator, island.new().user.id]
    for workspace in workspaces:
        island.owner.execute(
            "insert into identity.api_keys values (%s, gen_random_uuid(), %s, 'k', 'plk_x',"
            " sha256(gen_random_uuid()::text::bytea), '{}', now(), now())",
            [workspace, creator],
        )
    select = "select workspace_id from identity.api_keys where creator_id = %s"
    with island_database.transaction(Scope("plinth_identity", workspaces[0], creator)) as session:
        assert [row[0] for row in session._connection.execute(select, [creator])] == workspaces[:1]
    with island_database.transaction(Scope("plinth_identity", user_id=creator)) as session:
        assert {row[0] for row in session._connection.execute(select, [creator])} == set(workspaces)
