"""Activity: what was done in a workspace, as people read it. A projection of the domain's own events."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.projects.model.changes import FieldChange
from services.projects.model.names import ACTIVITY, PROJECT


@dataclass(frozen=True, slots=True)
class Activity:
    """One thing that was done to `resource` by `actor`; `position` is that of its event in the log.

    A deed that belongs to no project (of workflows) has no `project_id`.
    """

    workspace_id: UUID
    position: int
    event_id: UUID
    project_id: UUID | None
    time: datetime
    verb: str
    resource: str
    actor: str
    changes: tuple[FieldChange, ...]
    comment: str

    @property
    def name(self) -> str:
        """The resource name."""
        return ACTIVITY.format(workspace=self.workspace_id, activity=self.event_id)

    @property
    def project(self) -> str:
        """The name of the project that it belongs to; empty without one."""
        if self.project_id is None:
            return ""
        return PROJECT.format(workspace=self.workspace_id, project=self.project_id)
