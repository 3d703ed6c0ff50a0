"""Brings blobs that are encrypted at rest under the current master key."""

from datetime import timedelta

import structlog

from services.documents.blobs.port import BlobCorrupt, BlobMissing, blob_key
from services.documents.blobs.sealed import Sealed
from services.documents.repository.blobs import FIRST, BlobId, BlobState
from services.documents.service.housekeeping import MOST_ATTEMPTS, QUEUE
from services.documents.service.storage import Storage
from services.documents.service.units import SERVICE, DocumentsUnits
from services.kernel.caller import acting_itself
from services.kernel.clock import Clock
from services.kernel.jobs import Check, NewJob
from services.kernel.secrets import Keyring

RESEAL = "documents.reseal"
_BATCH = 500
_EVERY = timedelta(hours=6)
_log = structlog.get_logger("plinth.documents")


class Resealing:
    """Goes through all blobs again and again, for as long as there is a former key.

    More than once, as another process may still write under that key while this one has the new one already.
    One of a former key is written anew as another blob, which takes its place: the way that any bytes come and go, so
    that a process that dies over it leaves no more behind than by an upload.
    """

    def __init__(
        self, units: DocumentsUnits, clock: Clock, keyring: Keyring, storage: Storage, sealed: Sealed | None
    ) -> None:
        self._units = units
        self._clock = clock
        self._storage = storage
        self._sealed = sealed if keyring.rotating else None
        self._after, self._count = FIRST, 0
        self._due = clock.now()

    def ask(self) -> None:
        """Have a worker do it, as long as there is a former key; every six hours, and never two of them."""
        if self._sealed is None or self._clock.now() < self._due:
            return
        with acting_itself(SERVICE), self._units.system() as uow:
            uow.enqueue(NewJob(QUEUE, RESEAL, unique_key=RESEAL, max_attempts=MOST_ATTEMPTS))
            uow.commit()
        self._due = self._clock.now() + _EVERY

    def reseal(self, check: Check) -> int:
        """Go through them, on from where it was ended: how many were of a former key. Raises DependencyUnavailable.

        `check` comes before each, and raises what ends it early.
        """
        if self._sealed is None:
            return 0
        with acting_itself(SERVICE):
            while found := self._next():
                for blob in found:
                    check()
                    self._count += self._brought_over(self._sealed, blob)
                    self._after = blob
        count, self._count, self._after = self._count, 0, FIRST
        _log.info("blobs.resealed", blobs=count)
        return count

    def _next(self) -> list[BlobId]:
        with self._units.system() as uow:
            return uow.repo.blobs.list_in(BlobState.LIVE, self._after, _BATCH)

    def _brought_over(self, sealed: Sealed, blob: BlobId) -> bool:
        key = blob_key(blob.workspace_id, blob.blob_id)
        try:
            if sealed.is_current(key):
                return False
            content = self._storage.write(blob.workspace_id, self._storage.read(blob.workspace_id, blob.blob_id))
        except (BlobMissing, BlobCorrupt) as error:
            # Deleted meanwhile, or for somebody to look at: the others need not wait for it.
            _log.warning("blob.not_resealed", blob=key, error=type(error).__name__)
            return False
        with self._storage.until_kept(blob.workspace_id, content), self._units(blob.workspace_id) as uow:
            replaced = uow.repo.blobs.replace(blob.workspace_id, blob.blob_id, content.blob_id)
            if replaced:
                uow.repo.blobs.keep(blob.workspace_id, content.blob_id)
                uow.commit()
        if not replaced:
            self._storage.drop(blob.workspace_id, content)
        return replaced
