"""Documents whose words a job has still to count, as rows."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel.db import Session, compiled
from services.search.tables import recounts

_t = recounts.c
_ASK = compiled(
    upsert(recounts)
    .values(workspace_id=bindparam("workspace"), document_id=bindparam("document"))
    .on_conflict_do_nothing()
    .inline()
)
_END = compiled(
    delete(recounts).where(_t.workspace_id == bindparam("workspace"), _t.document_id == bindparam("document"))
)
_OVERDUE = compiled(
    select(_t.workspace_id, _t.document_id)
    .where(_t.ask_time < bindparam("before"))
    .order_by(_t.workspace_id, _t.document_id)
    .limit(bindparam("count"))
)


class RecountRepository:
    """What is to be counted in the session's workspace. Whoever asks, or says that all is counted, holds the index."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ask(self, workspace_id: UUID, document_id: UUID) -> None:
        """Passages of a document are to be counted, or to be counted no more."""
        self._session.run(_ASK, workspace=workspace_id, document=document_id)

    def end(self, workspace_id: UUID, document_id: UUID) -> None:
        """All of them are."""
        self._session.run(_END, workspace=workspace_id, document=document_id)

    def overdue(self, before: datetime, count: int) -> list[tuple[UUID, UUID]]:
        """The documents that wait since before then, with their workspaces; in a system session."""
        return self._session.all(
            _OVERDUE, lambda workspace_id, document_id: (workspace_id, document_id), before=before, count=count
        )
