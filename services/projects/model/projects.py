"""Projects: what they are, how they change, soft deletion."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.names import USER
from services.projects.errors import ProjectDeleted
from services.projects.model.changes import FieldChange, To, changes_of
from services.projects.model.engine import Item
from services.projects.model.names import PROJECT, WORKFLOW
from services.projects.model.workflows import Category, State

PURGE_AFTER = timedelta(days=30)
_TOLD = ("display_name", "description", "assignee_id", "labels", "due_time")


@dataclass(frozen=True, slots=True)
class NewProject:
    """What a project begins with; without a workflow it follows the workspace's own."""

    display_name: str
    description: str
    workflow_id: UUID | None
    assignee_id: UUID | None
    labels: tuple[str, ...]
    due_time: datetime | None


@dataclass(frozen=True, slots=True)
class ProjectPatch:
    """New values of a project; None leaves as it is. A workflow cannot be changed, only told again."""

    workflow_id: UUID | None = None
    display_name: str | None = None
    description: str | None = None
    assignee_id: To[UUID | None] | None = None
    labels: tuple[str, ...] | None = None
    due_time: To[datetime | None] | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """A project. Deleted, it has a `delete_time` and the `purge_time` at which it is gone for good."""

    workspace_id: UUID
    project_id: UUID
    workflow_id: UUID
    display_name: str
    description: str
    state: str
    state_category: Category
    author_id: UUID
    assignee_id: UUID | None
    labels: tuple[str, ...]
    due_time: datetime | None
    version: int
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None = None
    purge_time: datetime | None = None

    @property
    def name(self) -> str:
        """The resource name."""
        return PROJECT.format(workspace=self.workspace_id, project=self.project_id)

    @property
    def workflow_name(self) -> str:
        """The resource name of the workflow that it follows."""
        return WORKFLOW.format(workspace=self.workspace_id, workflow=self.workflow_id)

    @property
    def deleted(self) -> bool:
        """Whether it is deleted; it can be brought back until it is gone."""
        return self.delete_time is not None

    def gone(self, now: datetime) -> bool:
        """Whether nobody can bring it back any more."""
        return self.purge_time is not None and self.purge_time <= now

    def require_living(self) -> None:
        """Let pass only a project that is not deleted. Raises ProjectDeleted."""
        if self.deleted:
            raise ProjectDeleted(self.name)

    def changed(self, patch: ProjectPatch, now: datetime) -> Self:
        """The project after the patch; the same one when nothing differs. Raises FieldsInvalid."""
        if patch.display_name == "":
            raise FieldsInvalid(FieldViolation("project.display_name", "must not be empty"))
        if patch.workflow_id not in (None, self.workflow_id):
            raise FieldsInvalid(FieldViolation("project.workflow", "cannot be changed"))
        after = replace(
            self,
            display_name=self.display_name if patch.display_name is None else patch.display_name,
            description=self.description if patch.description is None else patch.description,
            assignee_id=self.assignee_id if patch.assignee_id is None else patch.assignee_id.value,
            labels=self.labels if patch.labels is None else patch.labels,
            due_time=self.due_time if patch.due_time is None else patch.due_time.value,
        )
        return self if after == self else replace(after, version=self.version + 1, update_time=now)

    def changes_since(self, before: Self) -> list[FieldChange]:
        """What an event tells of the change."""
        return changes_of(before, self, _TOLD)

    def in_state(self, state: State, now: datetime) -> Self:
        """In another state."""
        return replace(
            self,
            state=state.state_id,
            state_category=state.category,
            version=self.version + 1,
            update_time=now,
        )

    def after_delete(self, now: datetime) -> Self:
        """Deleted; the same one when it is so already."""
        if self.deleted:
            return self
        return replace(self, version=self.version + 1, update_time=now, delete_time=now, purge_time=now + PURGE_AFTER)

    def after_undelete(self, now: datetime) -> Self:
        """Living again; the same one when it lives."""
        if not self.deleted:
            return self
        return replace(self, version=self.version + 1, update_time=now, delete_time=None, purge_time=None)

    def item(self) -> Item:
        """As the workflow engine sees it."""
        return Item(self.state, self.author_id, self.assignee_id, self._facts())

    def _facts(self) -> Mapping[str, object]:
        return {
            "display_name": self.display_name,
            "description": self.description,
            "state": self.state,
            "category": self.state_category.value,
            "author": USER.format(user=self.author_id),
            "assignee": USER.format(user=self.assignee_id) if self.assignee_id else "",
            "labels": list(self.labels),
            "due_time": self.due_time,
            "create_time": self.create_time,
            "update_time": self.update_time,
        }
