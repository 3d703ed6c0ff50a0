"""The audit log of a workspace, as the kernel writes it. The primary key is a UUIDv7, so it sorts by time."""

from uuid import UUID

from sqlalchemy import select

from services.kernel.db import Session
from services.kernel.tables import audit
from services.tenancy.model.audit import AuditEvent, AuditFilter

_LAST = UUID(int=2**128 - 1)

_t = audit.c


class AuditRepository:
    """Audit events of the session's workspace, to be read only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_newest(self, workspace_id: UUID, wanted: AuditFilter, after: UUID | None, count: int) -> list[AuditEvent]:
        """Events that the filter lets through, newest first, after the one named."""
        statement = (
            select(audit)
            .where(_t.workspace_id == workspace_id, _t.id < (after or _LAST))
            .order_by(_t.id.desc())
            .limit(count)
        )
        for column, value in ((_t.actor, wanted.actor), (_t.action, wanted.action), (_t.resource, wanted.resource)):
            if value:
                statement = statement.where(column == value)
        if wanted.start_time is not None:
            statement = statement.where(_t.time >= wanted.start_time)
        if wanted.end_time is not None:
            statement = statement.where(_t.time < wanted.end_time)
        return self._session.all(statement, AuditEvent)
