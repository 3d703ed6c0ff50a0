"""What is really in the database, past every policy: did a refused call change anything?"""

import re
from typing import Any

import psycopg
from psycopg import sql

from tests.contract.factories import Scene

# Being looked at moves these.
_NOTED_USE = ("last_used_time",)
# Events go from one to the next in their own time; each has its row in the audit log.
_MOVING = re.compile(r"kernel\.(outbox|event_log.*)|projects\.activity")

# Nothing of the workspace waits for its position in the log, nor any there for the activity.
_ALL_TOLD = """
    select not exists (select from kernel.outbox where workspace_id = %(id)s) and not exists (
        select from kernel.event_log where workspace_id = %(id)s
        and position > (select position from kernel.cursors where subscriber = 'projects.activity')
    )
"""


class Rows:
    """Reads every table of every domain as the database's owner."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection
        columns = connection.execute(
            "select table_schema, table_name, column_name, data_type from information_schema.columns"
            " where table_schema not in ('pg_catalog', 'information_schema', 'public')"
            " and data_type in ('uuid', 'text') order by 1, 2, 3"
        ).fetchall()
        mentions: dict[tuple[str, str], list[sql.Composable]] = {}
        for schema, table, column, kind in columns:
            if _MOVING.fullmatch(f"{schema}.{table}"):
                continue
            mentioned = sql.SQL("{} = any(%(ids)s::uuid[])" if kind == "uuid" else "{} like any(%(patterns)s)")
            mentions.setdefault((schema, table), []).append(mentioned.format(sql.Identifier(column)))
        matching = sql.SQL("select {}, (to_jsonb(t) - %(noted)s::text[])::text from {} t where {}")
        queries = [
            matching.format(".".join(name), sql.Identifier(*name), sql.SQL(" or ").join(conditions))
            for name, conditions in mentions.items()
        ]
        # One question for all tables: to plan it takes longer than to answer it, and it is planned once.
        self._query = sql.SQL(" union all ").join(queries) + sql.SQL(" order by 1, 2")

    def of(self, *scenes: Scene) -> list[tuple[str, str]]:
        """Every row that mentions a workspace or its owner, after its table; other tests write to the same tables."""
        ids = [one for scene in scenes for one in (scene.workspace.rpartition("/")[2], str(scene.owner.user_id))]
        values = {"ids": ids, "patterns": [f"%{one}%" for one in ids], "noted": list(_NOTED_USE)}
        return self._connection.execute(self._query, values, prepare=True).fetchall()

    def all_told(self, scene: Scene) -> bool:
        """Whether all that happened in the workspace so far is where people look for it."""
        found = self._connection.execute(_ALL_TOLD, {"id": scene.workspace.rpartition("/")[2]}).fetchone()
        return found is not None and bool(found[0])
