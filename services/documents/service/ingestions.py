"""Use cases of IngestionService."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.documents.errors import IngestionStateConflict
from services.documents.model.documents import Document
from services.documents.model.ingestions import Ingestion, IngestionReason
from services.documents.model.names import INGESTION
from services.documents.repository.ingestions import FIELDS, IngestionId
from services.documents.service import ingestion_lifecycle
from services.documents.service.units import SERVICE, DocumentsUnitOfWork, DocumentsUnits, current_viewer
from services.kernel.caller import acting_itself
from services.kernel.clock import Clock
from services.kernel.errors import ResourceNotFound
from services.kernel.paging import Pager

_MOST_AT_ONCE = 1_000
# A job is there from the commit on that wants it, and goes after the one that ends the ingestion.
_IDLE_AFTER = timedelta(minutes=1)
_BATCH = 100


class IngestionService:
    """How documents come to be found. Who may not see a document finds no ingestion of it."""

    def __init__(self, units: DocumentsUnits, clock: Clock, pager: Pager) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager

    def get(self, workspace_id: UUID, ingestion_id: UUID) -> Ingestion:
        """The ingestion. Raises ResourceNotFound."""
        with self._units() as uow:
            found = uow.repo.ingestions.get(workspace_id, ingestion_id)
            document = uow.repo.documents.get(workspace_id, found.document_id) if found is not None else None
        both = (found, document) if found is not None and document is not None else None
        return _seen(both, workspace_id, ingestion_id)[0]

    def list_ingestions(
        self, workspace_id: UUID, page_size: int, page_token: str, filter: str
    ) -> tuple[list[Ingestion], str]:
        """A page of them, the newest first, and the token of the next. Raises PageTokenInvalid or FilterInvalid."""
        page = self._pager.page(page_token, page_size, "ListIngestions", str(workspace_id), filter)
        wanted = FIELDS.query(filter)
        with self._units() as uow:
            found = uow.repo.ingestions.list_page(workspace_id, wanted, page, current_viewer())
        return self._pager.cut(page, found, wanted.key_of)

    def cancel(self, workspace_id: UUID, ingestion_id: UUID) -> Ingestion:
        """The ingestion, cancelled; one that has ended stays as it is. Raises ResourceNotFound.

        An attempt that is at it finds out within half a second.
        """
        with self._units() as uow:
            before, _ = _locked(uow, workspace_id, ingestion_id)
            after = before.cancelled(self._clock.now())
            if after is not before:
                ingestion_lifecycle.save(uow, after)
                uow.commit()
        return after

    def retry(self, workspace_id: UUID, ingestion_id: UUID) -> Ingestion:
        """The ingestion, under way again if it was dead or cancelled.

        Raises ResourceNotFound, or IngestionStateConflict where a newer one of the document has begun.
        """
        with self._units() as uow:
            before, document = _locked(uow, workspace_id, ingestion_id)
            if not before.can_begin_again:
                return before
            if document.ingestion_id != ingestion_id:
                raise IngestionStateConflict(before.name, before.state.wire_name)
            after = before.begun_again(self._clock.now())
            ingestion_lifecycle.save(uow, after)
            uow.enqueue(ingestion_lifecycle.job_of(after))
            uow.commit()
        return after

    def retry_dead(
        self, workspace_id: UUID, since: datetime | None, reasons: Sequence[IngestionReason]
    ) -> tuple[int, bool]:
        """Begin dead ones again that died since then, for one of the reasons: how many, and whether there are more."""
        now = self._clock.now()
        with self._units() as uow:
            found = uow.repo.ingestions.lock_dead(
                workspace_id, current_viewer(), since=since, reasons=reasons, count=_MOST_AT_ONCE + 1
            )
            again = [dead.begun_again(now) for dead in found[:_MOST_AT_ONCE]]
            for ingestion in again:
                ingestion_lifecycle.save(uow, ingestion)
            uow.enqueue_all([ingestion_lifecycle.job_of(ingestion, bulk=True) for ingestion in again])
            uow.commit()
        return len(again), len(found) > len(again)

    def revive(self) -> int:
        """Bring those to the workers again that nobody works on, of whatever workspace: how many there were.

        Jobs do not get lost, but somebody may have cancelled or discarded one.
        """
        count = 0
        with acting_itself(SERVICE):
            while idle := self._idle():
                for one in idle:
                    self._revive(one)
                count += len(idle)
        return count

    def _idle(self) -> list[IngestionId]:
        with self._units.system() as uow:
            return uow.repo.ingestions.list_idle(ingestion_lifecycle.KIND, self._clock.now() - _IDLE_AFTER, _BATCH)

    def _revive(self, one: IngestionId) -> None:
        with self._units(one.workspace_id) as uow:
            locked = _lock(uow, one.workspace_id, one.ingestion_id)
            if locked is None or locked[0].state.ended:
                return
            before = locked[0]
            after = before.broken_off(self._clock.now())
            if after is not before:
                ingestion_lifecycle.save(uow, after)
            if not after.state.ended:
                uow.enqueue(ingestion_lifecycle.job_of(after))
            uow.commit()


def _locked(uow: DocumentsUnitOfWork, workspace_id: UUID, ingestion_id: UUID) -> tuple[Ingestion, Document]:
    """The same, for a caller who may see it. Raises ResourceNotFound."""
    return _seen(_lock(uow, workspace_id, ingestion_id), workspace_id, ingestion_id)


def _lock(uow: DocumentsUnitOfWork, workspace_id: UUID, ingestion_id: UUID) -> tuple[Ingestion, Document] | None:
    """The ingestion and its document, until the commit."""
    found = uow.repo.ingestions.get(workspace_id, ingestion_id)
    document = uow.repo.documents.lock(workspace_id, found.document_id) if found is not None else None
    found = uow.repo.ingestions.lock(workspace_id, ingestion_id) if document is not None else None
    return (found, document) if found is not None and document is not None else None


def _seen(
    found: tuple[Ingestion, Document] | None, workspace_id: UUID, ingestion_id: UUID
) -> tuple[Ingestion, Document]:
    """What was found. Raises ResourceNotFound where the caller may not see the document."""
    if found is None or not current_viewer().sees(found[1].visibility, found[1].author_id):
        raise ResourceNotFound(INGESTION.format(workspace=workspace_id, ingestion=ingestion_id))
    return found
