"""Every SQL statement of projects, one class a table."""

from services.kernel.db import Session
from services.projects.repository.activity import Activities
from services.projects.repository.approvals import Approvals
from services.projects.repository.projects import Projects
from services.projects.repository.tasks import Tasks
from services.projects.repository.workflows import Workflows
from services.projects.repository.workspaces import Workspaces


class ProjectsRepositories:
    """What a unit of work of projects has in `repo`."""

    def __init__(self, session: Session) -> None:
        self.workflows = Workflows(session)
        self.projects = Projects(session)
        self.tasks = Tasks(session)
        self.approvals = Approvals(session)
        self.activity = Activities(session)
        self.workspaces = Workspaces(session)


__all__ = ["ProjectsRepositories"]
