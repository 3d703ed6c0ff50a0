"""Every SQL statement of projects, one class a table."""

from services.kernel.db import Session
from services.projects.repository.activity import ActivityRepository
from services.projects.repository.approvals import ApprovalRepository
from services.projects.repository.projects import ProjectRepository
from services.projects.repository.tasks import TaskRepository
from services.projects.repository.workflows import WorkflowRepository
from services.projects.repository.workspaces import WorkspaceRepository


class ProjectsRepositories:
    """What a unit of work of projects has in `repo`."""

    def __init__(self, session: Session) -> None:
        self.workflows = WorkflowRepository(session)
        self.projects = ProjectRepository(session)
        self.tasks = TaskRepository(session)
        self.approvals = ApprovalRepository(session)
        self.activity = ActivityRepository(session)
        self.workspaces = WorkspaceRepository(session)


__all__ = ["ProjectsRepositories"]
