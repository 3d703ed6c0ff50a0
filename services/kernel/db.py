"""The one way to the database: statements compiled once, run by psycopg on a pooled connection.

SQLAlchemy Core builds every statement and compiles it once; psycopg runs the text as a prepared statement. That is
about twice as fast as SQLAlchemy's own execution, and keeps one small surface between the domains and the driver.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import orjson
import psycopg
from psycopg import errors as pg
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.rows import kwargs_row
from psycopg.types.json import set_json_dumps
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from services.kernel.deadline import seconds_left
from services.kernel.errors import CallDeadlineExceeded, ConcurrentUpdate, DependencyUnavailable, Overloaded

T = TypeVar("T")
# psycopg types a query as a literal string, to keep user input out of it; a statement compiled from Core is one.
SqlText = Any

_DIALECT = psycopg_dialect.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
_MAX_STATEMENT_SECONDS = 60.0
# A call waits for a connection no longer than this, and than half of its time: a refusal must come before its deadline.
_MAX_WAIT_SECONDS = 2.0
# While the database is out of reach hardly at all, or calls that can only fail would fill the queue.
_OUTAGE_WAIT_SECONDS = 0.05
_LOCK_TIMEOUT = "5s"
_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
_ROLE = re.compile(r"[a-z_]+")
# The pool gives up a reconnect after this long and starts anew on demand, so that its growing back-off never
# outlasts a restart of the database.
_RECONNECT_SECONDS = 2.0
# Without these, a connection whose other end vanished without a word would hold its thread for hours. Over TCP only.
_VANISHED_PEER: dict[str, Any] = {
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}
# One round trip, and past psycopg's own bookkeeping: a third of what a short transaction costs the process.
_BEGIN = (
    "begin; select set_config('role', '{role}', true), set_config('plinth.workspace', '{workspace}', true),"
    " set_config('plinth.user', '{user}', true), set_config('statement_timeout', '{timeout}', true),"
    " set_config('lock_timeout', '{lock_timeout}', true)"
)

set_json_dumps(orjson.dumps)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with named parameters, and the values that the statement itself brought along."""

    sql: SqlText
    defaults: dict[str, object]


def compiled(statement: Executable) -> Statement:
    """Compile once, at import of a repository; `bindparam`s are given by name at each run."""
    built = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]  # every Executable is a ClauseElement
    defaults = {name: value for name, value in built.params.items() if not built.binds[name].required}
    return Statement(str(built), defaults)


@dataclass(frozen=True, slots=True)
class Scope:
    """Under which role, and for which workspace and user, a transaction sees rows."""

    role: str
    workspace_id: UUID | None = None
    user_id: UUID | None = None

    def begin(self, milliseconds: int) -> bytes:
        """SQL that begins a transaction in this scope, whose statements may each take so long.

        Raises ValueError for a role that is no plain word; whatever else the text holds, its type keeps plain.
        """
        if not _ROLE.fullmatch(self.role):
            raise ValueError(f"{self.role!r} is no role of the mesh")
        return _BEGIN.format(
            role=self.role,
            workspace=self.workspace_id or "",
            user=self.user_id or "",
            timeout=milliseconds,
            lock_timeout=_LOCK_TIMEOUT,
        ).encode()


class Session:
    """One transaction. Statements are compiled ones, or built for the one call where filters vary."""

    def __init__(self, connection: psycopg.Connection[Any], scope: Scope) -> None:
        self._connection = connection
        self.scope = scope

    def first(self, statement: Statement | Executable, make: Callable[..., T], **params: object) -> T | None:
        """The first row, made by `make` from its columns as keyword arguments; None where there is none."""
        sql, values = _bound(statement, params)
        with self._connection.cursor(row_factory=kwargs_row(make)) as cursor:
            return cursor.execute(sql, values, prepare=True).fetchone()

    def all(self, statement: Statement | Executable, make: Callable[..., T], **params: object) -> list[T]:
        """Every row, each made by `make` from its columns as keyword arguments."""
        sql, values = _bound(statement, params)
        with self._connection.cursor(row_factory=kwargs_row(make)) as cursor:
            return cursor.execute(sql, values, prepare=True).fetchall()

    def run(self, statement: Statement | Executable, **params: object) -> int:
        """Run for its effect; the number of rows that it touched."""
        sql, values = _bound(statement, params)
        with self._connection.cursor() as cursor:
            return cursor.execute(sql, values, prepare=True).rowcount

    def commit(self) -> None:
        """Make it last. Raises RuntimeError after a failed statement: PostgreSQL would roll back without a word."""
        if self._connection.info.transaction_status is TransactionStatus.INERROR:
            raise RuntimeError("a statement of this transaction has failed, so nothing of it can be committed")
        _execute(self._connection, b"commit")


def _execute(connection: psycopg.Connection[Any], sql: bytes) -> None:
    """Run SQL without parameters, straight through libpq. Raises psycopg.Error."""
    result = connection.pgconn.exec_(sql)
    if result.status not in _DONE:
        if connection.pgconn.status is not ConnStatus.OK:
            raise psycopg.OperationalError(result.get_error_message())
        raise pg.error_from_result(result)


def _bound(statement: Statement | Executable, params: dict[str, object]) -> tuple[SqlText, dict[str, object]]:
    if not isinstance(statement, Statement):
        statement = compiled(statement)
    return statement.sql, statement.defaults | params


def passes_policies(url: str) -> bool:
    """Whether row-level security does not bind the URL's login. Raises psycopg.OperationalError."""
    with psycopg.connect(url, autocommit=True, application_name="plinth-login", **_VANISHED_PEER) as connection:
        asked = connection.execute("select rolsuper or rolbypassrls from pg_roles where rolname = session_user")
        return asked.fetchone() == (True,)


class Database:
    """A pool of connections; one serves all domains of a process, as each transaction states its role."""

    def __init__(self, url: str, *, pool_size: int) -> None:
        self._url = url
        self._pool = ConnectionPool(
            url,
            min_size=min(2, pool_size),
            max_size=pool_size,
            reconnect_timeout=_RECONNECT_SECONDS,
            reconnect_failed=self._lost,
            # Transactions begin and end here; psycopg must begin none of its own.
            kwargs={"autocommit": True, "prepare_threshold": 1, "application_name": "plinth", **_VANISHED_PEER},
            configure=self._connected,
            open=False,
        )
        self._checking = threading.Lock()
        self._reachable = True
        self._pool.open()

    def close(self) -> None:
        """Close the idle connections; those at work close when they come back."""
        self._pool.close()

    def pool_state(self) -> tuple[int, int, int]:
        """Open connections, those idle, and calls that wait for one."""
        stats = self._pool.get_stats()
        return stats.get("pool_size", 0), stats.get("pool_available", 0), stats.get("requests_waiting", 0)

    def connect(self, purpose: str = "listener") -> psycopg.Connection[Any]:
        """A connection of one's own, in autocommit, for a LISTEN or an election. Raises psycopg.OperationalError.

        `purpose` tells an operator who looks at `pg_stat_activity` what it is for.
        """
        name = f"plinth-{purpose}"
        connection = psycopg.connect(self._url, autocommit=True, application_name=name, **_VANISHED_PEER)
        # Whoever listens connects anew after a break, which an idle pool would tell to the next call only.
        self._check_idle()
        return connection

    @contextmanager
    def transaction(self, scope: Scope) -> Iterator[Session]:
        """One transaction under `scope`; whoever leaves it without `commit` rolls back.

        Raises DependencyUnavailable, Overloaded, CallDeadlineExceeded or ConcurrentUpdate for what the database says;
        violated constraints pass through as psycopg's own errors, for the repository that foresees them.
        """
        connection = self._checkout()
        try:
            _execute(connection, scope.begin(max(1, int(seconds_left(_MAX_STATEMENT_SECONDS) * 1000))))
            self._reachable = True
            yield Session(connection, scope)
        except psycopg.Error as error:
            self._translate(error, connection)
        finally:
            self._checkin(connection)

    def _checkout(self) -> psycopg.Connection[Any]:
        wait = min(_MAX_WAIT_SECONDS, seconds_left(_MAX_STATEMENT_SECONDS) / 2)
        try:
            return self._pool.getconn(timeout=wait if self._reachable else min(wait, _OUTAGE_WAIT_SECONDS))
        except PoolTimeout:
            if self._reachable:
                raise Overloaded from None
            raise DependencyUnavailable("database") from None
        except PoolClosed:
            raise DependencyUnavailable("database") from None

    def _checkin(self, connection: psycopg.Connection[Any]) -> None:
        try:
            if connection.info.transaction_status is TransactionStatus.INTRANS:
                # After its own `rollback` psycopg deallocates every prepared statement, for fear of DDL that is undone.
                connection.pgconn.exec_(b"rollback")
            elif not connection.closed:
                connection.rollback()
        except psycopg.Error:
            connection.close()
        finally:
            self._pool.putconn(connection)

    def _translate(self, error: psycopg.Error, connection: psycopg.Connection[Any]) -> NoReturn:
        match error:
            case pg.QueryCanceled() | pg.TransactionTimeout():
                raise CallDeadlineExceeded from error
            case pg.LockNotAvailable() | pg.SerializationFailure() | pg.DeadlockDetected():
                raise ConcurrentUpdate from error
            case pg.FeatureNotSupported():
                # A migration changed a table under a prepared statement ("cached plan must not change result type").
                connection.close()
                raise DependencyUnavailable("database") from error
            case psycopg.OperationalError() | psycopg.InterfaceError():
                connection.close()
                self._reachable = False
                self._check_idle()
                raise DependencyUnavailable("database") from error
        raise error

    def _connected(self, connection: psycopg.Connection[Any]) -> None:
        connection.prepared_max = 1000
        self._reachable = True

    def _lost(self, _: object) -> None:
        self._reachable = False

    def _check_idle(self) -> None:
        """One broken connection seldom comes alone: find the others before calls do."""
        if self._checking.acquire(blocking=False):

            def check() -> None:
                try:
                    self._pool.check()
                finally:
                    self._checking.release()

            threading.Thread(target=check, name="plinth-pool-check", daemon=True).start()
