"""Forgets what is of no use any more; the background of the server calls it now and then."""

from datetime import timedelta

from services.identity.repository import IdentityRepositories
from services.identity.service.credentials import KNOWN_FOR
from services.kernel.clock import Clock
from services.kernel.unit_of_work import Units

# No limit has a longer memory: by then every failure is forgiven.
_THROTTLES_KEPT = timedelta(days=3)
_LINKS_KEPT = timedelta(days=1)
# Ended sessions stay for a while: their users may want to know what became of them.
_SESSIONS_KEPT = timedelta(days=90)


class Housekeeping:
    """Deletes counters, links, sessions and known sources that are long past."""

    def __init__(self, units: Units[IdentityRepositories], clock: Clock) -> None:
        self._units = units
        self._clock = clock

    def sweep(self) -> int:
        """Delete what is due; how many rows."""
        now = self._clock.now()
        with self._units.system() as uow:
            count = uow.repo.throttles.sweep(now - _THROTTLES_KEPT)
            count += uow.repo.links.sweep(now - _LINKS_KEPT)
            count += uow.repo.sessions.sweep(now - _SESSIONS_KEPT)
            count += uow.repo.users.sweep_sources(now - KNOWN_FOR)
            uow.commit()
            return count
