"""All that one workspace has here."""

from uuid import UUID

from sqlalchemy import bindparam, delete

from services.kernel.db import Session, compiled
from services.search.tables import (
    audiences,
    documents,
    early_news,
    indexes,
    models,
    postings,
    queries,
    segments,
    staged_chunks,
    tombstones,
    vocabulary,
)

# Passages go with their documents, vectors with their models.
_FORGET = [
    compiled(delete(table).where(table.c.workspace_id == bindparam("workspace")))
    for table in (
        queries,
        models,
        postings,
        segments,
        tombstones,
        vocabulary,
        staged_chunks,
        documents,
        early_news,
        audiences,
        indexes,
    )
]


class WorkspaceRepository:
    """Workspaces, which are tenancy's: here are only their rows of every table."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def forget(self, workspace_id: UUID) -> None:
        """Delete everything that the session's workspace has."""
        for statement in _FORGET:
            self._session.run(statement, workspace=workspace_id)
