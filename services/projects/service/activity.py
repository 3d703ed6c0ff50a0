"""Use cases of ActivityService."""

from uuid import UUID

from services.kernel.clock import Clock
from services.kernel.paging import Pager
from services.projects.model.activity import Activity
from services.projects.repository.activity import FIELDS
from services.projects.service.projects import present
from services.projects.service.units import ProjectsUnitOfWork, ProjectsUnits


class ActivityService:
    """What was done in a workspace, or in one project of it."""

    def __init__(self, units: ProjectsUnits, clock: Clock, pager: Pager) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager

    def list_activity(
        self, workspace_id: UUID, project_id: UUID | None, page_size: int, page_token: str, filter: str
    ) -> tuple[list[Activity], str]:
        """A page of it, the newest first, and the token of the next.

        Raises ResourceNotFound, PageTokenInvalid or FilterInvalid.
        """
        page = self._pager.page(page_token, page_size, "ListActivity", str(workspace_id), str(project_id), filter)
        wanted = FIELDS.query(filter)
        with self._units() as uow:
            if project_id is not None:
                self._require_there(uow, workspace_id, project_id)
            found = uow.repo.activity.list_page(workspace_id, project_id, wanted, page)
        return self._pager.cut(page, found, wanted.key_of)

    def require_there(self, workspace_id: UUID, project_id: UUID) -> None:
        """Let pass only a project that is there. Raises ResourceNotFound."""
        with self._units() as uow:
            self._require_there(uow, workspace_id, project_id)

    def record(self, uow: ProjectsUnitOfWork, done: Activity) -> None:
        """Keep what was done, once, in the unit that read of it."""
        uow.repo.activity.add(done)

    def forget_project(self, uow: ProjectsUnitOfWork, workspace_id: UUID, project_id: UUID) -> None:
        """Keep nothing of what was done in a project that is gone for good."""
        uow.repo.activity.forget(workspace_id, project_id)

    def _require_there(self, uow: ProjectsUnitOfWork, workspace_id: UUID, project_id: UUID) -> None:
        found = uow.repo.projects.get(workspace_id, project_id)
        present(found, workspace_id, project_id, self._clock.now())
