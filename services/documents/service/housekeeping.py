"""Deletes for good what nothing refers to any more."""

from collections import Counter
from datetime import timedelta
from uuid import UUID

import structlog

from services.documents.blobs.port import blob_key
from services.documents.model.usage import Usage
from services.documents.repository.blobs import FIRST, BlobId, BlobState
from services.documents.service.storage import Storage, remove_upload
from services.documents.service.units import SERVICE, DocumentsUnitOfWork, DocumentsUnits
from services.kernel.caller import acting_itself
from services.kernel.clock import Clock
from services.kernel.errors import DependencyUnavailable
from services.kernel.jobs import Check, NewJob

QUEUE = "documents"
COLLECT = "documents.collect"
# A store that is away is waited for: one job that does is better than many that are given up.
MOST_ATTEMPTS = 1_000
# No call and no job writes for so long: whoever began it is dead.
GIVEN_UP_AFTER = timedelta(days=1)
_LOOK_FOR_LOST_EVERY = timedelta(days=1)
_BATCH = 100
_BLOBS = 1_000
_log = structlog.get_logger("plinth.documents")


class Housekeeping:
    """Collects blobs, drops uploads whose time is over, and forgets purged workspaces."""

    def __init__(self, units: DocumentsUnits, clock: Clock, storage: Storage) -> None:
        self._units = units
        self._clock = clock
        self._storage = storage
        self._look_for_lost_at = clock.now()

    def ask(self) -> None:
        """Have a worker sweep, unless one is at it already."""
        with acting_itself(SERVICE), self._units.system() as uow:
            uow.enqueue(NewJob(QUEUE, COLLECT, unique_key=COLLECT, max_attempts=MOST_ATTEMPTS))
            uow.commit()

    def forget_workspace(self, uow: DocumentsUnitOfWork, workspace_id: UUID) -> None:
        """Take nothing for a workspace any more, in a unit of its own session; the next sweep deletes all of it."""
        uow.repo.usage.purge(workspace_id, self._clock.now())

    def sweep(self, check: Check) -> None:
        """Do it now, in batches that each are a commit; `check` comes in between, and raises what ends it early.

        Raises DependencyUnavailable where the store is away.
        """
        with acting_itself(SERVICE):
            while self._drop_uploads():
                check()
            self._forget_purged(check)
            while self._give_up():
                check()
            if self._clock.now() >= self._look_for_lost_at:
                self.doom_lost(check)
                self._look_for_lost_at = self._clock.now() + _LOOK_FOR_LOST_EVERY
            self._collect(check)
            self._storage.tidy(GIVEN_UP_AFTER)

    def doom_lost(self, check: Check) -> None:
        """Have bytes collected that nothing refers to although they were kept: there are none, unless we are wrong."""
        after, before = FIRST, self._clock.now() - GIVEN_UP_AFTER
        while True:
            check()
            with acting_itself(SERVICE), self._units.system() as uow:
                live = uow.repo.blobs.list_in(BlobState.LIVE, after, _BLOBS)
                lost = uow.repo.blobs.doom_lost(live, before) if live else []
                uow.commit()
            for blob in lost:
                _log.warning("blob.lost", blob=blob_key(blob.workspace_id, blob.blob_id))
            if not live:
                return
            after = live[-1]

    def _forget_purged(self, check: Check) -> None:
        with self._units.system() as uow:
            purged = uow.repo.usage.list_purged()
        for workspace_id in purged:
            while self._forget_some(workspace_id):
                check()
        with self._units.system() as uow:
            # A call that began before the purge has ended since, and can add nothing.
            uow.repo.usage.forget(self._clock.now() - GIVEN_UP_AFTER)
            uow.commit()

    def _forget_some(self, workspace_id: UUID) -> int:
        """Whoever holds a document or an upload may keep a blob of it: so these go first, and all blobs after them."""
        with self._units(workspace_id) as uow:
            count = uow.repo.workspaces.delete_some(workspace_id, _BATCH)
            count = count or uow.repo.workspaces.doom_some(workspace_id, _BLOBS)
            uow.commit()
        return count

    def _drop_uploads(self) -> int:
        with self._units.system() as uow:
            expired = uow.repo.uploads.lock_expired(self._clock.now(), _BATCH)
            announced: Counter[UUID] = Counter()
            for upload in expired:
                remove_upload(uow, upload)
                announced[upload.workspace_id] += upload.size_bytes
            # In order, as another sweep may be at uploads of the same workspaces.
            for workspace_id, size_bytes in sorted(announced.items()):
                uow.repo.usage.free(workspace_id, Usage(upload_bytes=size_bytes))
            uow.commit()
        return len(expired)

    def _give_up(self) -> int:
        with self._units.system() as uow:
            count = uow.repo.blobs.give_up(self._clock.now() - GIVEN_UP_AFTER, _BATCH)
            uow.commit()
        return count

    def _collect(self, check: Check) -> None:
        """Bytes first, then rows: a process that dies in between has it done again.

        One blob that cannot be deleted does not stand in the way of the others; a store that is away is left alone.
        """
        after = FIRST
        while True:
            check()
            with self._units.system() as uow:
                doomed = uow.repo.blobs.list_in(BlobState.DOOMED, after, _BATCH)
                needed = uow.repo.blobs.spare(doomed) if doomed else []
                uow.commit()
            if not doomed:
                return
            for blob in needed:
                # Only a bug dooms it: better kept for ever than lost.
                _log.warning("blob.needed", blob=blob_key(blob.workspace_id, blob.blob_id))
            deleted: list[BlobId] = []
            try:
                for blob in doomed:
                    if blob not in needed and self._deleted(blob):
                        deleted.append(blob)  # noqa: PERF401  # also those before a failure
            finally:
                with self._units.system() as uow:
                    uow.repo.blobs.remove(deleted)
                    uow.commit()
            after = doomed[-1]

    def _deleted(self, blob: BlobId) -> bool:
        """Delete its bytes: whether that was possible. Raises DependencyUnavailable where the store is away."""
        try:
            self._storage.delete(blob.workspace_id, blob.blob_id)
        except DependencyUnavailable as error:
            # Is it this blob, or the store?
            self._storage.check()
            _log.warning("blob.not_deleted", blob=blob_key(blob.workspace_id, blob.blob_id), error=str(error.__cause__))
            return False
        return True
