"""All that one workspace has here."""

from uuid import UUID

from sqlalchemy import bindparam, delete

from services.kernel.db import Session, compiled
from services.projects.tables import activity, projects, workflows

# Tasks and approvals go with their projects, versions with their workflows.
_FORGET = [
    compiled(delete(table).where(table.c.workspace_id == bindparam("workspace")))
    for table in (projects, workflows, activity)
]


class WorkspaceRepository:
    """Workspaces, which are tenancy's: here are only their rows of every table."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def forget(self, workspace_id: UUID) -> None:
        """Delete everything that the session's workspace has."""
        for statement in _FORGET:
            self._session.run(statement, workspace=workspace_id)
