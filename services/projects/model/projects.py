"""Projects: items that can be deleted and brought back."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar, Self
from uuid import UUID

from services.projects.errors import ProjectDeleted
from services.projects.model.items import Item
from services.projects.model.names import PROJECT
from services.projects.model.workflows import Subject

PURGE_AFTER = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project(Item):
    """A project. Deleted, it has a `delete_time` and the `purge_time` at which it is gone for good."""

    subject: ClassVar[Subject] = Subject.PROJECT

    delete_time: datetime | None = None
    purge_time: datetime | None = None

    @property
    def item_id(self) -> UUID:
        """Its own id."""
        return self.project_id

    @property
    def name(self) -> str:
        """The resource name."""
        return PROJECT.format(workspace=self.workspace_id, project=self.project_id)

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
