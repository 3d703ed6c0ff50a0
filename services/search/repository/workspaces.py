"""All that one workspace has here."""

from uuid import UUID

from sqlalchemy import bindparam

from services.kernel.db import Session
from services.search.repository.batches import delete_some
from services.search.tables import (
    audiences,
    chunks,
    documents,
    early_changes,
    postings,
    queries,
    recounts,
    removed_chunks,
    segments,
    staged_chunks,
    staged_segments,
    tombstones,
    vocabulary,
)

# What refers to others first, so that no row takes more than itself along. Models have a job that deletes them.
_FORGET = [
    delete_some(table, table.c.workspace_id == bindparam("workspace"))
    for table in (
        queries,
        staged_chunks,
        postings,
        staged_segments,
        segments,
        tombstones,
        vocabulary,
        recounts,
        removed_chunks,
        chunks,
        documents,
        early_changes,
        audiences,
    )
]


class WorkspaceRepository:
    """Workspaces, which are tenancy's: here are only their rows of every table, but for models and the index."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def forget_some(self, workspace_id: UUID, count: int) -> bool:
        """Delete some rows, at most so many; False where none were left."""
        return any(self._session.run(statement, workspace=workspace_id, count=count) for statement in _FORGET)
