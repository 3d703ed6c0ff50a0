"""Deletes for good what nothing refers to any more."""

from datetime import timedelta
from uuid import UUID

from services.documents.repository.blobs import FIRST
from services.documents.service.storage import Storage
from services.documents.service.units import SERVICE, DocumentsUnitOfWork, DocumentsUnits
from services.kernel.caller import acting_itself
from services.kernel.clock import Clock
from services.kernel.errors import DependencyUnavailable

# No call and no job writes for so long: whoever began it is dead.
GIVEN_UP_AFTER = timedelta(days=1)
_BATCH = 100
_FAILURES = 3


class Housekeeping:
    """Collects blobs, drops uploads whose time is over, and forgets purged workspaces."""

    def __init__(self, units: DocumentsUnits, clock: Clock, storage: Storage) -> None:
        self._units = units
        self._clock = clock
        self._storage = storage

    def sweep(self) -> None:
        """Do it now, in batches that each are a commit. Raises DependencyUnavailable where the store is away."""
        with acting_itself(SERVICE):
            while self._drop_uploads():
                pass
            while self._give_up():
                pass
            self._collect()
            self._storage.tidy(GIVEN_UP_AFTER)

    def forget_workspace(self, uow: DocumentsUnitOfWork, workspace_id: UUID) -> None:
        """Delete everything that a workspace had here, in a unit of its own session; the next sweep takes its bytes."""
        uow.repo.workspaces.forget(workspace_id)

    def _drop_uploads(self) -> int:
        with self._units.system() as uow:
            expired = uow.repo.uploads.lock_expired(self._clock.now(), _BATCH)
            for workspace_id, upload_id in expired:
                uow.repo.blobs.doom_of_upload(workspace_id, upload_id)
                uow.repo.uploads.remove(workspace_id, upload_id)
            uow.commit()
        return len(expired)

    def _give_up(self) -> int:
        with self._units.system() as uow:
            count = uow.repo.blobs.give_up(self._clock.now() - GIVEN_UP_AFTER, _BATCH)
            uow.commit()
        return count

    def _collect(self) -> None:
        """Bytes first, then rows: a process that dies in between has it done again.

        One blob that cannot be deleted does not stand in the way of the others; a store that is away is left alone.
        """
        after, failures = FIRST, 0
        while True:
            with self._units.system() as uow:
                doomed = uow.repo.blobs.list_doomed(after, _BATCH)
            if not doomed:
                return
            deleted = []
            for blob in doomed:
                try:
                    self._storage.delete(blob.workspace_id, blob.blob_id)
                except DependencyUnavailable:
                    failures += 1
                    if failures == _FAILURES:
                        raise
                else:
                    deleted.append(blob)
            with self._units.system() as uow:
                uow.repo.blobs.remove(deleted)
                uow.commit()
            after = doomed[-1]
