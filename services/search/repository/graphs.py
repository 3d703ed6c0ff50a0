"""HNSW graphs: a partial index on the vectors of one model, made and dropped while others publish and search.

It is made concurrently, so nobody waits for it. A worker that is killed leaves one that is not valid, which is dropped
before the next is made.

All graphs are indexes of one table, so whoever plans a statement on it, or adds to it, looks at each of them: at 200 of
them that costs some 2 ms a plan and 1 ms a publish, at 400 twice as much and more. So there are only so many; whose
model has none has its vectors compared, which finds the same.

Malkov, Yashunin: "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs" (2016).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import sql

# Two at once would wait for each other's snapshots.
_LOCK = 0x564543544F525347
_LOCK_SECONDS = 2.0
# With these, and as many candidates as `nearest` looks at, 0.99 of the ten nearest are found (`make bench`, and
# tests/search/test_graphs.py).
_NEIGHBOURS, _CANDIDATES = 16, 128
_SETTINGS = {
    "role": "plinth_maintenance",
    # It takes minutes, and as much memory as its graph, or many times as long.
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "maintenance_work_mem": "512MB",
    # Workers would share that memory, of which containers have little.
    "max_parallel_maintenance_workers": "0",
    # A worker that was killed wants it no more.
    "client_connection_check_interval": "5s",
}
_COUNT = "select count(*) from pg_index where indrelid = 'search.vectors'::regclass and indpred is not null"
_STATE = "select indisvalid from pg_index where indexrelid = to_regclass(%s)"

_log = structlog.get_logger("plinth.search")

Connect = Callable[[], psycopg.Connection[Any]]


class Graphs:
    """The graphs of all workspaces, by the ids of their models: `most` at most."""

    def __init__(self, connect: Connect, most: int) -> None:
        self._connect = connect
        self._most = most

    def make(self, workspace_id: UUID, model_id: UUID, dimensions: int, wait: Callable[[float], None]) -> bool:
        """Make the graph of a model's vectors, unless it is there, or there are too many: whether it is there now.

        `wait` is called while another one is made. Raises psycopg.Error, or what `wait` raises.
        """
        with self._maintaining() as connection:
            # Whoever finds none free need not wait to hear it.
            if _valid(connection, model_id) is None and self._full(connection, workspace_id):
                return False
            _wait_alone(connection, wait)
            valid = _valid(connection, model_id)
            if valid:
                return True
            if valid is not None:
                _drop(connection, model_id)
            if self._full(connection, workspace_id):
                return False
            connection.execute(
                sql.SQL(
                    "create index concurrently {} on search.vectors"
                    " using hnsw ((embedding::halfvec({})) halfvec_ip_ops) with (m = {}, ef_construction = {})"
                    " where workspace_id = {} and model_id = {}"
                ).format(
                    sql.Identifier(_name(model_id)),
                    sql.Literal(dimensions),
                    sql.Literal(_NEIGHBOURS),
                    sql.Literal(_CANDIDATES),
                    sql.Literal(str(workspace_id)),
                    sql.Literal(str(model_id)),
                )
            )
            return True

    def drop(self, model_id: UUID, wait: Callable[[float], None]) -> None:
        """Drop the graph of a model, if there is one. Raises as `make` does."""
        with self._maintaining() as connection:
            if _valid(connection, model_id) is not None:
                _wait_alone(connection, wait)
                _drop(connection, model_id)

    def _full(self, connection: psycopg.Connection[Any], workspace_id: UUID) -> bool:
        full = _count(connection) >= self._most
        if full:
            _log.warning("graphs.full", workspace=str(workspace_id), most=self._most)
        return full

    @contextmanager
    def _maintaining(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection under the role that may."""
        with self._connect() as connection:
            for name, value in _SETTINGS.items():
                connection.execute("select set_config(%s, %s, false)", [name, value])
            yield connection


def _wait_alone(connection: psycopg.Connection[Any], wait: Callable[[float], None]) -> None:
    """Until the connection ends, no other one makes or drops a graph."""
    while connection.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchone() != (True,):
        wait(_LOCK_SECONDS)


def _valid(connection: psycopg.Connection[Any], model_id: UUID) -> bool | None:
    """Whether the graph is whole; None where there is none."""
    row = connection.execute(_STATE, [f"search.{_name(model_id)}"]).fetchone()
    return row[0] if row is not None else None


def _count(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(_COUNT).fetchone()
    return row[0] if row is not None else 0


def _drop(connection: psycopg.Connection[Any], model_id: UUID) -> None:
    name = sql.Identifier("search", _name(model_id))
    connection.execute(sql.SQL("drop index concurrently if exists {}").format(name))


def _name(model_id: UUID) -> str:
    return f"graph_{model_id.hex}"
