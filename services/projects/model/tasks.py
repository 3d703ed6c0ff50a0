"""Tasks: what they are, how they change, and where they stand among those of their project."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
from uuid import UUID

from fractional_indexing import generate_key_between, generate_n_keys_between

from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.names import USER
from services.projects.model.changes import FieldChange, To, changes_of
from services.projects.model.engine import Item
from services.projects.model.names import PROJECT, TASK, WORKFLOW
from services.projects.model.workflows import Category, State

# Moves into one and the same gap make its positions longer, one character for about six of them.
MAX_POSITION_LENGTH = 100
_TOLD = ("display_name", "description", "assignee_id", "labels", "due_time")


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a task begins with; without a workflow it follows the workspace's own."""

    display_name: str
    description: str
    workflow_id: UUID | None
    assignee_id: UUID | None
    labels: tuple[str, ...]
    due_time: datetime | None


@dataclass(frozen=True, slots=True)
class TaskPatch:
    """New values of a task; None leaves as it is. `workflow_id` is what an update may name, and not change."""

    workflow_id: UUID | None = None
    display_name: str | None = None
    description: str | None = None
    assignee_id: To[UUID | None] | None = None
    labels: tuple[str, ...] | None = None
    due_time: To[datetime | None] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task. Its `position` sorts it, byte by byte, among the tasks of its project."""

    workspace_id: UUID
    project_id: UUID
    task_id: UUID
    workflow_id: UUID
    display_name: str
    description: str
    state: str
    state_category: Category
    author_id: UUID
    assignee_id: UUID | None
    labels: tuple[str, ...]
    due_time: datetime | None
    position: str
    version: int
    create_time: datetime
    update_time: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return TASK.format(workspace=self.workspace_id, project=self.project_id, task=self.task_id)

    @property
    def project_name(self) -> str:
        """The resource name of its project."""
        return PROJECT.format(workspace=self.workspace_id, project=self.project_id)

    @property
    def workflow_name(self) -> str:
        """The resource name of the workflow that it follows."""
        return WORKFLOW.format(workspace=self.workspace_id, workflow=self.workflow_id)

    def changed(self, patch: TaskPatch, now: datetime) -> Self:
        """The task after the patch; the same one when nothing differs. Raises FieldsInvalid."""
        if patch.display_name == "":
            raise FieldsInvalid(FieldViolation("task.display_name", "must not be empty"))
        if patch.workflow_id not in (None, self.workflow_id):
            raise FieldsInvalid(FieldViolation("task.workflow", "cannot be changed"))
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

    def at(self, position: str, now: datetime) -> Self:
        """In another place."""
        return replace(self, position=position, version=self.version + 1, update_time=now)

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


def position_between(before: str | None, after: str | None) -> str:
    """A position between two (None: before the first, after the last): fractional indexing (Greenspan, Figma)."""
    position: str = generate_key_between(before, after)
    return position


def spread(count: int) -> list[str]:
    """So many positions in order, as short as can be."""
    positions: list[str] = generate_n_keys_between(None, None, count)
    return positions
