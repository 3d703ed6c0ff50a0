"""Changes of documents that are not here yet, or no more, as rows."""

from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import and_, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel.db import Session, compiled
from services.search.model.facts import DocumentChange, DocumentUpdate
from services.search.repository.batches import delete_some
from services.search.tables import early_changes

_t = early_changes.c
_KEY = ("workspace_id", "document_id")
_by_id = and_(_t.workspace_id == bindparam("workspace"), _t.document_id == bindparam("document"))
_GET = compiled(select(*(c for c in early_changes.columns if c.name not in _KEY)).where(_by_id))
_written = upsert(early_changes).values({column.name: bindparam(column.name) for column in early_changes.columns})
_PUT = compiled(
    _written.on_conflict_do_update(
        index_elements=_KEY,
        set_={
            column.name: _written.excluded[column.name] for column in early_changes.columns if column.name not in _KEY
        },
    ).inline()
)
_REMOVE = compiled(delete(early_changes).where(_by_id))
_SWEEP = delete_some(early_changes, _t.change_time < bindparam("before"))
_NOTHING = DocumentUpdate("", (), {}, False, (), ())


class ChangeRepository:
    """What became of documents of the session's workspace that are not here."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, workspace_id: UUID, document_id: UUID) -> DocumentChange | None:
        """What became of a document last."""
        return self._session.first(_GET, _change, workspace=workspace_id, document=document_id)

    def put(self, workspace_id: UUID, document_id: UUID, change: DocumentChange) -> None:
        """Keep it, in the place of an earlier one."""
        update = change.update or _NOTHING
        self._session.run(
            _PUT,
            workspace_id=workspace_id,
            document_id=document_id,
            change_time=change.time,
            revision=change.revision,
            deleted=change.update is None,
            display_name=update.display_name,
            tags=list(update.tags),
            metadata=Jsonb(update.metadata),
            everyone=update.everyone,
            roles=list(update.roles),
            members=list(update.members),
        )

    def remove(self, workspace_id: UUID, document_id: UUID) -> None:
        """Forget it, where the document is here now."""
        self._session.run(_REMOVE, workspace=workspace_id, document=document_id)

    def sweep(self, before: datetime, count: int) -> int:
        """Delete those from before then, of any workspace, at most so many: how many; in a system session."""
        return self._session.run(_SWEEP, before=before, count=count)


def _change(
    *,
    change_time: datetime,
    revision: int,
    deleted: bool,
    display_name: str,
    tags: list[str],
    metadata: dict[str, str],
    everyone: bool,
    roles: list[str],
    members: list[UUID],
) -> DocumentChange:
    update = DocumentUpdate(display_name, tuple(tags), metadata, everyone, tuple(roles), tuple(members))
    return DocumentChange(change_time, revision, None if deleted else update)
