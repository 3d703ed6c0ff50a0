"""All that one workspace has here."""

from uuid import UUID

from sqlalchemy import bindparam, delete, update

from services.documents.repository.blobs import BlobState
from services.documents.tables import blobs, documents, uploads
from services.kernel.db import Session, compiled

# Bytes that are being written at this moment are given up a day later, as always.
_DOOM = compiled(
    update(blobs)
    .where(blobs.c.workspace_id == bindparam("workspace"), blobs.c.state == BlobState.LIVE.value)
    .values(state=BlobState.DOOMED.value)
)
# Versions and ingestions go with their documents, parts with their uploads.
_FORGET = [
    compiled(delete(table).where(table.c.workspace_id == bindparam("workspace"))) for table in (documents, uploads)
]


class WorkspaceRepository:
    """Workspaces, which are tenancy's: here are only their rows of every table."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def forget(self, workspace_id: UUID) -> None:
        """Delete everything that the session's workspace has, but for the rows of blobs, which go after their bytes."""
        for statement in (_DOOM, *_FORGET):
            self._session.run(statement, workspace=workspace_id)
