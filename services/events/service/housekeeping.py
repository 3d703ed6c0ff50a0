"""Deletes for good what is no longer kept, and follows a change of the master key."""

from collections.abc import Callable
from datetime import timedelta

from services.events.repository import EventsRepositories
from services.events.service.replays import KEPT
from services.events.service.units import EventsUnits
from services.kernel.clock import Clock
from services.kernel.secrets import Keyring

# Longer than any payload is kept.
_DELIVERIES_KEPT = timedelta(days=90)
_BATCH = 500


class Housekeeping:
    """Ends the retention of payloads, deliveries, replays and former secrets."""

    def __init__(self, units: EventsUnits, clock: Clock, keyring: Keyring) -> None:
        self._units = units
        self._clock = clock
        self._keyring = keyring

    def sweep(self) -> int:
        """Delete what is due, and erase the payloads that are; how many rows."""
        now = self._clock.now()
        with self._units.system() as uow:
            count = uow.repo.secrets.sweep(now)
            count += uow.repo.replays.sweep(now - KEPT)
            uow.commit()
        count += self._in_batches(lambda repo: repo.deliveries.erase_payloads(now, _BATCH))
        return count + self._in_batches(lambda repo: repo.deliveries.sweep(now - _DELIVERIES_KEPT, _BATCH))

    def reseal(self) -> int:
        """Bring the secrets that are sealed under a former master key under the current one; how many."""
        return self._in_batches(self._reseal_some) if self._keyring.rotating else 0

    def _reseal_some(self, repo: EventsRepositories) -> int:
        secrets = repo.secrets.list_sealed_otherwise(self._keyring.mark, _BATCH)
        for secret in secrets:
            repo.secrets.seal(secret, self._keyring.rewrap(secret.sealed, context=secret.context))
        return len(secrets)

    def _in_batches(self, work: Callable[[EventsRepositories], int]) -> int:
        """Until a batch is not full, each in a commit of its own; how many in all."""
        count, done = 0, _BATCH
        while done == _BATCH:
            with self._units.system() as uow:
                done = work(uow.repo)
                uow.commit()
            count += done
        return count
