"""All that one workspace has here."""

from uuid import UUID

from sqlalchemy import bindparam, delete, select, update

from services.documents.repository.blobs import BlobState
from services.documents.tables import blobs, documents, uploads
from services.kernel.db import Session, compiled

# Versions and ingestions go with their documents, parts with their uploads. Bytes that are being written at this moment
# are given up a day later, as always.
_DELETE = [
    compiled(
        delete(table).where(
            table.c.workspace_id == bindparam("workspace"),
            key.in_(select(key).where(table.c.workspace_id == bindparam("workspace")).limit(bindparam("count"))),
        )
    )
    for table, key in ((documents, documents.c.document_id), (uploads, uploads.c.upload_id))
]
_DOOM = compiled(
    update(blobs)
    .where(
        blobs.c.workspace_id == bindparam("workspace"),
        blobs.c.blob_id.in_(
            select(blobs.c.blob_id)
            .where(blobs.c.workspace_id == bindparam("workspace"), blobs.c.state == BlobState.LIVE.value)
            .limit(bindparam("count"))
        ),
    )
    .values(state=BlobState.DOOMED.value)
)


class WorkspaceRepository:
    """Workspaces, which are tenancy's: here are only their rows of every table."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def delete_some(self, workspace_id: UUID, count: int) -> int:
        """Delete so many documents and so many uploads, with all that is theirs: how many there were together.

        Waits for whoever has one locked. Their blobs are left.
        """
        return sum(self._session.run(statement, workspace=workspace_id, count=count) for statement in _DELETE)

    def doom_some(self, workspace_id: UUID, count: int) -> int:
        """Doom so many blobs of a workspace of which nothing else is left: how many there were."""
        return self._session.run(_DOOM, workspace=workspace_id, count=count)
