"""Forgets what is of no use any more; the background of the server calls it now and then."""

from datetime import timedelta

from services.identity.repository import IdentityRepositories
from services.identity.service.credentials import KNOWN_FOR
from services.kernel.clock import Clock
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Units

# No limit has a longer memory: by then every failure is forgiven.
_THROTTLES_KEPT = timedelta(days=3)
_LINKS_KEPT = timedelta(days=1)
# Ended sessions stay for a while: their users may want to know what became of them.
_SESSIONS_KEPT = timedelta(days=90)
_BATCH = 500


class Housekeeping:
    """Deletes counters, links, sessions and known sources that are long past; follows a change of the master key."""

    def __init__(self, units: Units[IdentityRepositories], clock: Clock, keyring: Keyring) -> None:
        self._units = units
        self._clock = clock
        self._keyring = keyring

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

    def reseal(self) -> int:
        """Bring what is sealed under a former master key under the current one; how many rows.

        Once it finds nothing more, the former key is needed here no longer. Without a former key it looks at nothing:
        keys change only with a restart.
        """
        if not self._keyring.rotating:
            return 0
        count = 0
        with self._units.system() as uow:
            for key in uow.repo.signing_keys.list_all():
                if not key.private_key.startswith(self._keyring.mark):
                    uow.repo.signing_keys.seal(key.kid, self._keyring.rewrap(key.private_key, context=key.context))
                    count += 1
            uow.commit()
        while True:
            with self._units.system() as uow:
                sessions = uow.repo.sessions.list_sealed_otherwise(self._keyring.mark, _BATCH)
                for session in sessions:
                    sealed = self._keyring.rewrap(session.refresh_key, context=session.context)
                    uow.repo.sessions.seal(session, sealed)
                uow.commit()
            count += len(sessions)
            if len(sessions) < _BATCH:
                return count
