"""Tasks: items that stand in an order among those of their project."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Self
from uuid import UUID

from fractional_indexing import generate_key_between, generate_n_keys_between

from services.projects.model.items import Item
from services.projects.model.names import TASK
from services.projects.model.workflows import Subject

# Moves into one and the same gap make its positions longer, one character for about six of them.
MAX_POSITION_LENGTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Item):
    """A task. Its `position` sorts it, byte by byte, among the tasks of its project."""

    subject: ClassVar[Subject] = Subject.TASK

    task_id: UUID
    position: str

    @property
    def item_id(self) -> UUID:
        """Its own id."""
        return self.task_id

    @property
    def name(self) -> str:
        """The resource name."""
        return TASK.format(workspace=self.workspace_id, project=self.project_id, task=self.task_id)

    def at(self, position: str, now: datetime) -> Self:
        """In another place."""
        return replace(self, position=position, version=self.version + 1, update_time=now)


def position_between(before: str | None, after: str | None) -> str:
    """A position between two (None: before the first, after the last): fractional indexing (Greenspan, Figma)."""
    position: str = generate_key_between(before, after)
    return position


def spread(count: int) -> list[str]:
    """So many positions in order, as short as can be."""
    positions: list[str] = generate_n_keys_between(None, None, count)
    return positions
