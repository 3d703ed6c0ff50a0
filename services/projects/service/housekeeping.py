"""Deletes for good what is no longer kept."""

from uuid import UUID

from plinth.projects.v1 import events_pb2
from services.kernel.caller import acting_itself
from services.kernel.clock import Clock
from services.projects.model.names import PROJECT
from services.projects.service.units import SERVICE, ProjectsUnitOfWork, ProjectsUnits

_BATCH = 20


class Housekeeping:
    """Purges deleted projects at their time, and all that a purged workspace had."""

    def __init__(self, units: ProjectsUnits, clock: Clock) -> None:
        self._units = units
        self._clock = clock

    def purge(self) -> int:
        """Delete the projects that are due, with their tasks and approvals: how many."""
        count = 0
        with acting_itself(SERVICE):
            while purged := self._purge_some():
                count += purged
        return count

    def forget_workspace(self, uow: ProjectsUnitOfWork, workspace_id: UUID) -> None:
        """Delete everything that a workspace had here, in a unit of its own session."""
        uow.repo.workspaces.forget(workspace_id)

    def _purge_some(self) -> int:
        with self._units.system() as uow:
            purged = uow.repo.projects.purge(self._clock.now(), _BATCH)
            for workspace_id, project_id in purged:
                name = PROJECT.format(workspace=workspace_id, project=project_id)
                uow.emit(name, events_pb2.ProjectPurged(project=name), workspace_id=workspace_id)
            uow.commit()
        return len(purged)
