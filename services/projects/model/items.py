"""Items: what projects and tasks have in common, which is that they follow a workflow."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID

from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.names import USER
from services.projects.model.changes import FieldChange, To, changes_of
from services.projects.model.names import WORKFLOW
from services.projects.model.workflows import Category, State, Subject, Workflow

_TOLD = ("display_name", "description", "assignee_id", "labels", "due_time")


@dataclass(frozen=True, slots=True)
class NewItem:
    """What an item begins with; without a workflow it follows the workspace's own."""

    display_name: str
    description: str
    workflow_id: UUID | None
    assignee_id: UUID | None
    labels: tuple[str, ...]
    due_time: datetime | None


@dataclass(frozen=True, slots=True)
class ItemPatch:
    """New values of an item; None leaves as it is. A workflow cannot be changed, only told again."""

    workflow_id: UUID | None = None
    display_name: str | None = None
    description: str | None = None
    assignee_id: To[UUID | None] | None = None
    labels: tuple[str, ...] | None = None
    due_time: To[datetime | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(ABC):
    """A project, or a task in the project `project_id`."""

    subject: ClassVar[Subject]

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

    @classmethod
    def begun(cls, new: NewItem, workflow: Workflow, author_id: UUID, now: datetime, **own: Any) -> Self:
        """A new one in the first state of its workflow; `own` are the fields that only its kind has, and its ids."""
        first = workflow.definition.by_id[workflow.definition.initial_state]
        return cls(
            workspace_id=workflow.workspace_id,
            workflow_id=workflow.workflow_id,
            display_name=new.display_name,
            description=new.description,
            state=first.state_id,
            state_category=first.category,
            author_id=author_id,
            assignee_id=new.assignee_id,
            labels=new.labels,
            due_time=new.due_time,
            version=1,
            create_time=now,
            update_time=now,
            **own,
        )

    @property
    @abstractmethod
    def item_id(self) -> UUID:
        """Its own id."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The resource name."""

    @property
    def workflow_name(self) -> str:
        """The resource name of the workflow that it follows."""
        return WORKFLOW.format(workspace=self.workspace_id, workflow=self.workflow_id)

    def changed(self, patch: ItemPatch, now: datetime) -> Self:
        """The item after the patch; the same one when nothing differs. Raises FieldsInvalid."""
        if patch.display_name == "":
            raise FieldsInvalid(FieldViolation(f"{self.subject}.display_name", "must not be empty"))
        if patch.workflow_id not in (None, self.workflow_id):
            raise FieldsInvalid(FieldViolation(f"{self.subject}.workflow", "cannot be changed"))
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
            self, state=state.state_id, state_category=state.category, version=self.version + 1, update_time=now
        )

    def facts(self) -> Mapping[str, object]:
        """What guards know of it."""
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
