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
        matching = sql.SQL("select (to_jsonb(t) - %(noted)s::text[])::text from {} t where {} order by 1")
        self._queries = {
            ".".join(name): matching.format(sql.Identifier(*name), sql.SQL(" or ").join(conditions))
            for name, conditions in mentions.items()
        }

    def of(self, scene: Scene) -> dict[str, list[str]]:
        """Every row that mentions the workspace or its owner, by table; other tests write to the same tables."""
        ids = [scene.workspace.removeprefix("workspaces/"), str(scene.owner.user_id)]
        values = {"ids": ids, "patterns": [f"%{one}%" for one in ids], "noted": list(_NOTED_USE)}
        return {
            table: [row for (row,) in self._connection.execute(query, values)] for table, query in self._queries.items()
        }
