"""What an attempt holds an ingestion by: whatever it commits counts only as long as the ingestion is its own."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from services.documents.model.documents import Document
from services.documents.model.ingestions import Ingestion
from services.documents.service import ingestion_lifecycle
from services.documents.service.units import DocumentsUnitOfWork, DocumentsUnits
from services.kernel.clock import Clock
from services.kernel.deadline import check_deadline
from services.kernel.errors import CallDeadlineExceeded, PlinthError
from services.kernel.feed import ResourceChanged
from services.kernel.jobs import Attempt, AttemptTimedOut

# How often an attempt looks whether it is still wanted, and tells how far it is.
_LOOK_SECONDS = 0.5
_TELL_SECONDS = 1.0

Change = Callable[[DocumentsUnitOfWork, Ingestion, datetime], Ingestion]


class Superseded(Exception):
    """The ingestion is no longer this attempt's: it was cancelled, deleted, or is another one's."""


class Lookout:
    """Asks now and then whether an attempt still has its job, and its ingestion is as `wanted` would have it."""

    def __init__(
        self, units: DocumentsUnits, attempt: Attempt, ingestion: Ingestion, wanted: Callable[[Ingestion], bool]
    ) -> None:
        self._units = units
        self._attempt = attempt
        self._ids = (ingestion.workspace_id, ingestion.ingestion_id)
        self._wanted = wanted
        self._look_at = time.monotonic() + _LOOK_SECONDS

    def check(self) -> None:
        """Long work, and long waiting, calls it often.

        Raises Superseded, within half a second, and what the job's attempt raises when it is cancelled or has lost its
        lease. A database that is away does not stop what can go on without it.
        """
        self._attempt.check()
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        with suppress(PlinthError), self._units() as uow:
            self.require(uow.repo.ingestions.get(*self._ids))

    def require(self, found: Ingestion | None) -> Ingestion:
        """The ingestion as it was found. Raises Superseded."""
        if found is None or not self._wanted(found):
            raise Superseded
        return found


class Tenure:
    """One attempt at an ingestion, from its begin to whatever it comes to; `ingestion` and `document` as last seen."""

    def __init__(
        self, units: DocumentsUnits, clock: Clock, attempt: Attempt, ingestion: Ingestion, document: Document
    ) -> None:
        self._units = units
        self._clock = clock
        self._lookout = Lookout(units, attempt, ingestion, lambda found: found.held_by(attempt.fence))
        self._tell_at = time.monotonic() + _LOOK_SECONDS
        self.ingestion = ingestion
        self.document = document

    def check(self) -> None:
        """See Lookout: whether the ingestion is this attempt's. Raises AttemptTimedOut when the deadline has passed."""
        self._lookout.check()
        try:
            check_deadline()
        except CallDeadlineExceeded:
            raise AttemptTimedOut from None

    def tell(self, done: int, total: int = 0) -> None:
        """How far the stage is; whoever watches hears of it about once a second. Raises as `check` does.

        It is no event: nobody asks later how far a stage once was.
        """
        self.check()
        if time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + _TELL_SECONDS
        with suppress(PlinthError), self._units() as uow:
            found = uow.repo.ingestions.lock(self.ingestion.workspace_id, self.ingestion.ingestion_id)
            after = self._lookout.require(found).progressed(done, total, self._clock.now())
            uow.repo.ingestions.save(after)
            uow.announce(ResourceChanged(after.ingestion_id))
            uow.commit()
            self.ingestion = after

    def advance(self, change: Change) -> Ingestion:
        """Commit a change: the ingestion after it. Raises Superseded, and whatever the database says."""
        with self._units() as uow:
            # The document is locked before its ingestion, here and everywhere.
            document = uow.repo.documents.lock(self.document.workspace_id, self.document.document_id)
            found = uow.repo.ingestions.lock(self.ingestion.workspace_id, self.ingestion.ingestion_id)
            before = self._lookout.require(found)
            if document is None:
                raise Superseded
            self.document = document
            after = change(uow, before, self._clock.now())
            ingestion_lifecycle.save(uow, after)
            uow.commit()
        self.ingestion = after
        return after


def begin(units: DocumentsUnits, clock: Clock, attempt: Attempt, ingestion: Ingestion) -> Tenure | None:
    """Begin an attempt; None where there is nothing to do, or no attempt is left: then the ingestion is dead."""
    workspace_id = ingestion.workspace_id
    with units() as uow:
        document = uow.repo.documents.lock(workspace_id, ingestion.document_id)
        before = uow.repo.ingestions.lock(workspace_id, ingestion.ingestion_id)
        if document is None or before is None or not before.open_to(int(attempt.payload), attempt.fence):
            return None
        attempt.check()
        after = before.begun(attempt.fence, clock.now())
        if (after.state, after.reason) != (before.state, before.reason):
            ingestion_lifecycle.save(uow, after)
        else:
            uow.repo.ingestions.save(after)
        uow.commit()
    return None if after.state.ended else Tenure(units, clock, attempt, after, document)
