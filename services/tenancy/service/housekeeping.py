"""Deletes for good what is no longer kept; the background of the server calls it now and then."""

from datetime import timedelta

from plinth.tenancy.v1 import events_pb2
from services.kernel.caller import acting_itself
from services.kernel.clock import Clock
from services.kernel.feed import GrantChanged
from services.kernel.names import WORKSPACE
from services.tenancy.service.authority import TenancyUnits

# Invites that came to an end stay for a while: who invited may want to know what became of them.
_INVITES_KEPT = timedelta(days=90)
_BATCH = 20


class Housekeeping:
    """Purges workspaces at their purge time, and forgets invites that ended long ago."""

    def __init__(self, units: TenancyUnits, clock: Clock) -> None:
        self._units = units
        self._clock = clock

    def purge(self) -> int:
        """Delete what is due; how many workspaces and invites.

        With a workspace go its members, roles and invites; what other domains have of it goes by their subscribers.
        Its audit log, which is the instance's, stays.
        """
        with acting_itself("tenancy"):
            count = self._sweep_invites()
            while purged := self._purge_some():
                count += purged
        return count

    def _sweep_invites(self) -> int:
        with self._units.system() as uow:
            count = uow.repo.invites.sweep(self._clock.now() - _INVITES_KEPT)
            uow.commit()
        return count

    def _purge_some(self) -> int:
        with self._units.system() as uow:
            purged = uow.repo.workspaces.purge(self._clock.now(), _BATCH)
            for workspace_id in purged:
                name = WORKSPACE.format(workspace=workspace_id)
                uow.emit(name, events_pb2.WorkspacePurged(workspace=name), workspace_id=workspace_id)
                uow.invalidate(GrantChanged(workspace_id))
            uow.commit()
        return len(purged)
