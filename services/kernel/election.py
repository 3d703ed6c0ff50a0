"""Elections: of all processes the one that holds a session's advisory lock leads, until it dies or freezes.

A lock goes with its connection, and a connection with its process; but a process that is frozen keeps both. So a leader
asks something on that connection every few seconds, and who stands by ends a connection that holds a lock of the same
office and has been silent for much longer. What the leader of old still does must do no harm: it runs on the connection
that is gone, or it is refused by what the new one has done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from psycopg import errors as pg
from psycopg.rows import class_row

# A leader gives a sign of life at least so often.
SIGN_SECONDS = 5.0
_FROZEN_SECONDS = 15.0
# Who is at work, or in a transaction, is no business of ours: the login's `transaction_timeout` bounds that.
_STAND = """
    with holder as (
        select
            pid,
            session.usename::text as login,
            session.state is null as hidden,
            session.state = 'idle'
                and session.state_change < clock_timestamp() - make_interval(secs => %(frozen)s) as frozen
        from pg_locks as held join pg_stat_activity as session using (pid)
        where held.locktype = 'advisory' and held.classid = %(office)s and held.objsubid = 2 and held.granted
            and held.database = (select oid from pg_database where datname = current_database())
    )
    select
        array(select key from unnest(%(keys)s::int[]) as key where pg_try_advisory_lock(%(office)s, key)) as won,
        array(select distinct pid from holder where frozen) as frozen,
        array(select distinct login from holder where hidden) as hidden"""

_log = structlog.get_logger("plinth.election")


@dataclass(frozen=True, slots=True)
class _Stood:
    won: list[int]
    frozen: list[int]
    hidden: list[str]


def stand(connection: psycopg.Connection[Any], office: int, keys: Sequence[int]) -> list[int]:
    """Those of the locks that were free, and are this connection's from now on; or a sign of life, without keys.

    `office` and `keys` are the two integers of PostgreSQL's advisory locks. The connection is in autocommit, and has
    the role of its login, which may end the login's other connections. Raises psycopg.Error.
    """
    with connection.cursor(row_factory=class_row(_Stood)) as cursor:
        params = {"office": office, "keys": list(keys), "frozen": _FROZEN_SECONDS}
        (stood,) = cursor.execute(_STAND, params).fetchall()
    for pid in stood.frozen:
        _end(connection, office, pid)
    if stood.hidden and len(stood.won) < len(keys):
        # Whether sessions of another login are silent is not for us to see, so they would never be ended.
        _log.warning("election.hidden", office=office, logins=stood.hidden)
    return stood.won


def _end(connection: psycopg.Connection[Any], office: int, pid: int) -> None:
    try:
        connection.execute("select pg_terminate_backend(%s)", [pid])
    except pg.InsufficientPrivilege as error:
        _log.error("election.refused", office=office, pid=pid, error=error.diag.message_primary)
    else:
        _log.warning("election.frozen", office=office, pid=pid)
