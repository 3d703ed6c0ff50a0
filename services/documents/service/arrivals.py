"""How bytes become a document, or the next version of one, whichever way they came."""

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from services.documents.errors import DocumentNameTaken, VisibilityInvalid
from services.documents.model.documents import Content, Document, Facts
from services.documents.model.visibility import Viewer
from services.documents.service import ingesting, news
from services.documents.service.intake import Intake, kind_of
from services.documents.service.limits import Limits
from services.documents.service.storage import Storage, Stored, keep
from services.documents.service.units import DocumentsUnitOfWork, DocumentsUnits, current_viewer
from services.kernel.clock import Clock
from services.kernel.errors import ConcurrentUpdate
from services.kernel.ids import new_id


def _nothing_else(_: DocumentsUnitOfWork) -> None:
    pass


class Arrivals:
    """Files that arrive in the caller's workspace."""

    def __init__(self, units: DocumentsUnits, clock: Clock, storage: Storage, limits: Limits) -> None:
        self._units = units
        self._clock = clock
        self._storage = storage
        self._limits = limits

    def check(self, uow: DocumentsUnitOfWork, workspace_id: UUID, facts: Facts) -> None:
        """Refuse at once what would be refused once all bytes are here.

        Raises DocumentNameTaken, VisibilityInvalid or DocumentLimitReached.
        """
        found = uow.repo.documents.find(workspace_id, facts.display_name)
        if found is not None:
            _require_open(found, facts, current_viewer())
        else:
            self._limits.of(workspace_id).check_count(uow.repo.documents.count(workspace_id))

    def check_announced(self, workspace_id: UUID, size_bytes: int) -> None:
        """The same by the size that an upload is said to have. Raises DocumentTooLarge."""
        self._limits.of(workspace_id).check_size(size_bytes, field="upload.size_bytes")

    def check_begun(self, workspace_id: UUID, size_bytes: int, display_name: str, head: bytes) -> None:
        """The same once it is known how the file begins. Raises DocumentTooLarge."""
        self._limits.of(workspace_id).check_size(size_bytes, kind_of(head, display_name))

    def receive(self, workspace_id: UUID, facts: Facts, chunks: Iterable[bytes]) -> Content:
        """Store the bytes as they come.

        Raises DocumentEmpty, DocumentTooLarge, CallDeadlineExceeded or DependencyUnavailable.
        """
        intake = Intake(self._storage, self._limits.of(workspace_id), facts.display_name)
        return intake.store(workspace_id, chunks)

    def file(
        self,
        workspace_id: UUID,
        facts: Facts,
        content: Content,
        also: Callable[[DocumentsUnitOfWork], None] = _nothing_else,
    ) -> Document:
        """The document that the content became, or a version of; as it is where that is its newest version already.

        `also` is done in the same commit, before all else. Raises DocumentNameTaken, VisibilityInvalid or
        ConcurrentUpdate.
        """
        now = self._clock.now()
        with self._units() as uow:
            also(uow)
            found = uow.repo.documents.lock_named(workspace_id, facts.display_name)
            document = self._begin(uow, workspace_id, facts, content, now) if found is None else None
            if document is None:
                found = found or uow.repo.documents.lock_named(workspace_id, facts.display_name)
                if found is None:
                    raise ConcurrentUpdate
                document = self._go_on(uow, found, facts, content, now)
            uow.commit()
        return document

    def _begin(
        self, uow: DocumentsUnitOfWork, workspace_id: UUID, facts: Facts, content: Content, now: datetime
    ) -> Document | None:
        """A new document; None where somebody else has just made one of that name."""
        viewer = current_viewer()
        document = Document.begun(workspace_id, facts, content, viewer.user_id, now, document_id=new_id())
        if not uow.repo.documents.add(document):
            return None
        uow.emit(document.name, news.created(document))
        return _with_version(uow, document, content, viewer, now)

    def _go_on(
        self, uow: DocumentsUnitOfWork, before: Document, facts: Facts, content: Content, now: datetime
    ) -> Document:
        """A document with one more version, unless it is made of these bytes already."""
        viewer = current_viewer()
        _require_open(before, facts, viewer)
        if before.holds(content):
            uow.repo.blobs.doom(before.workspace_id, [content.blob_id])
            return before
        after = before.with_content(content, now)
        uow.repo.documents.save(after)
        uow.emit(after.name, news.version_added(after, after.newest(content, viewer.user_id, now)))
        return _with_version(uow, after, content, viewer, now)


def _with_version(
    uow: DocumentsUnitOfWork, document: Document, content: Content, viewer: Viewer, now: datetime
) -> Document:
    keep(uow, document.workspace_id, Stored(content.blob_id, content.size_bytes, content.sha256))
    uow.repo.versions.add(document.newest(content, viewer.user_id, now))
    return document.followed_by(ingesting.begin(uow, document, now))


def _require_open(document: Document, facts: Facts, viewer: Viewer) -> None:
    """Whether this caller may add a version of these facts. Raises DocumentNameTaken or VisibilityInvalid."""
    if not viewer.sees(document.visibility, document.author_id):
        raise DocumentNameTaken(document.display_name)
    if facts.visibility not in (None, document.visibility):
        # Else bytes that somebody meant for a few would be seen by many.
        raise VisibilityInvalid("", "the document of this name has another one: change that first, or leave it out")
