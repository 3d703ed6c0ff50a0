"""The audit log of a workspace, as the kernel writes it. The primary key is a UUIDv7, so it sorts by time."""

from dataclasses import asdict
from functools import cache
from uuid import UUID

from sqlalchemy import bindparam, select

from services.kernel.db import Session, Statement, compiled
from services.kernel.tables import audit
from services.tenancy.model.audit import AuditEvent, AuditFilter

_LAST = UUID(int=2**128 - 1)

_t = audit.c
# By the names of AuditFilter's fields.
_FILTERS = {
    "actor": _t.actor == bindparam("actor"),
    "action": _t.action == bindparam("action"),
    "resource": _t.resource == bindparam("resource"),
    "start_time": _t.time >= bindparam("start_time"),
    "end_time": _t.time < bindparam("end_time"),
}


class AuditRepository:
    """Audit events of the session's workspace, to be read only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_newest(self, workspace_id: UUID, wanted: AuditFilter, after: UUID | None, count: int) -> list[AuditEvent]:
        """Events that the filter lets through, newest first, after the one named."""
        values = {name: value for name, value in asdict(wanted).items() if value}
        return self._session.all(
            _newest(frozenset(values)), AuditEvent, workspace=workspace_id, after=after or _LAST, count=count, **values
        )


@cache
def _newest(filters: frozenset[str]) -> Statement:
    """Events that those filters let through, newest first; compiled once for each combination."""
    return compiled(
        select(audit)
        .where(_t.workspace_id == bindparam("workspace"), _t.id < bindparam("after"))
        .where(*(restriction for name, restriction in _FILTERS.items() if name in filters))
        .order_by(_t.id.desc())
        .limit(bindparam("count"))
    )
