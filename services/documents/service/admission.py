"""How bytes become a document, or the next version of one, whichever way they came."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.documents.errors import DocumentNameTaken, VisibilityInvalid
from services.documents.model.documents import Content, Document, Facts
from services.documents.model.uploads import Upload
from services.documents.model.usage import Usage
from services.documents.model.visibility import Viewer
from services.documents.service import ingestion_lifecycle, news
from services.documents.service.allowances import Allowances
from services.documents.service.inspection import Inspection, kind_of
from services.documents.service.storage import Storage, remove_upload
from services.documents.service.units import DocumentsUnitOfWork, DocumentsUnits, current_viewer
from services.kernel.clock import Clock
from services.kernel.errors import ConcurrentUpdate, ResourceNotFound
from services.kernel.ids import new_id
from services.kernel.names import WORKSPACE


class Admission:
    """Lets files into the caller's workspace."""

    def __init__(self, units: DocumentsUnits, clock: Clock, storage: Storage, allowances: Allowances) -> None:
        self._units = units
        self._clock = clock
        self._storage = storage
        self._allowances = allowances

    def check(self, uow: DocumentsUnitOfWork, workspace_id: UUID, facts: Facts, more_bytes: int) -> Usage:
        """Refuse at once what would be refused once all bytes are here; what is stored now.

        Raises DocumentNameTaken, VisibilityInvalid, DocumentLimitReached, VersionLimitReached or StorageLimitReached.
        """
        allowance = self._allowances.of(workspace_id)
        found = uow.repo.documents.find(workspace_id, facts.display_name)
        if found is not None:
            _require_open(found, facts, current_viewer())
            allowance.check_versions(found.current_version + 1)
        usage = uow.repo.usage.get(workspace_id)
        more = Usage(documents=int(found is None), version_bytes=more_bytes)
        allowance.check_usage(usage.plus(more), more)
        return usage

    def check_announced(self, workspace_id: UUID, size_bytes: int) -> None:
        """The same by the size that an upload is said to have. Raises DocumentTooLarge."""
        self._allowances.of(workspace_id).check_size(size_bytes, field="upload.size_bytes")

    def check_begun(self, workspace_id: UUID, size_bytes: int, display_name: str, head: bytes) -> None:
        """The same once it is known how the file begins. Raises DocumentTooLarge."""
        self._allowances.of(workspace_id).check_size(size_bytes, kind_of(head, display_name))

    def receive(self, workspace_id: UUID, facts: Facts, chunks: Iterable[bytes], usage: Usage) -> Content:
        """Store the bytes as they come, beside what is stored.

        Raises DocumentEmpty, DocumentTooLarge, StorageLimitReached, CallDeadlineExceeded or DependencyUnavailable.
        """
        inspection = Inspection(self._storage, self._allowances.of(workspace_id), usage, facts.display_name)
        return inspection.store(workspace_id, chunks)

    def admit(self, workspace_id: UUID, facts: Facts, content: Content, *, ending: Upload | None = None) -> Document:
        """The document that the content became, or a version of; as it is where that is its newest version already.

        An upload that it came by is gone then, and what that announced counts no more. Raises as `check` does,
        ConcurrentUpdate, or ResourceNotFound where the upload has gone or the workspace is purged.
        """
        with self._storage.until_kept(workspace_id, content), self._units() as uow:
            if ending is not None:
                if uow.repo.uploads.lock(workspace_id, ending.upload_id) is None:
                    raise ResourceNotFound(ending.name)
                remove_upload(uow, ending)
            document, more = self._file(uow, workspace_id, facts, content)
            self.charge(uow, workspace_id, replace(more, upload_bytes=-ending.size_bytes if ending else 0))
            uow.commit()
        return document

    def charge(self, uow: DocumentsUnitOfWork, workspace_id: UUID, more: Usage) -> None:
        """Count what a commit adds, last of all that is done in it: of many at once those pass that there is room for.

        Raises DocumentLimitReached or StorageLimitReached, and ResourceNotFound where the workspace is purged.
        """
        after = uow.repo.usage.take(workspace_id, more)
        if after is None:
            raise ResourceNotFound(WORKSPACE.format(workspace=workspace_id))
        self._allowances.of(workspace_id).check_usage(after, more)

    def _file(
        self, uow: DocumentsUnitOfWork, workspace_id: UUID, facts: Facts, content: Content
    ) -> tuple[Document, Usage]:
        """The document, and what it adds to what is stored. Raises ConcurrentUpdate."""
        now = self._clock.now()
        before = uow.repo.documents.lock_named(workspace_id, facts.display_name)
        if before is None:
            begun = self._begin(uow, workspace_id, facts, content, now)
            if begun is not None:
                return begun, Usage(documents=1, version_bytes=content.size_bytes)
            before = uow.repo.documents.lock_named(workspace_id, facts.display_name)
        if before is None:
            raise ConcurrentUpdate
        after = self._go_on(uow, before, facts, content, now)
        return after, Usage(version_bytes=content.size_bytes if after is not before else 0)

    def _begin(
        self, uow: DocumentsUnitOfWork, workspace_id: UUID, facts: Facts, content: Content, now: datetime
    ) -> Document | None:
        """A new document; None where somebody else has just made one of that name."""
        viewer = current_viewer()
        document = Document.begun(workspace_id, facts, content, viewer.user_id, now, document_id=new_id())
        if not uow.repo.documents.add(document):
            return None
        uow.emit(document.name, news.created(document), restricted=document.hidden)
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
        self._allowances.of(before.workspace_id).check_versions(before.current_version + 1)
        after = before.with_content(content, now)
        uow.repo.documents.save(after)
        version = after.newest(content, viewer.user_id, now)
        uow.emit(after.name, news.version_added(after, version), restricted=after.hidden)
        return _with_version(uow, after, content, viewer, now)


def _with_version(
    uow: DocumentsUnitOfWork, document: Document, content: Content, viewer: Viewer, now: datetime
) -> Document:
    uow.repo.blobs.keep(document.workspace_id, content.blob_id)
    uow.repo.versions.add(document.newest(content, viewer.user_id, now))
    return document.followed_by(ingestion_lifecycle.begin(uow, document, now))


def _require_open(document: Document, facts: Facts, viewer: Viewer) -> None:
    """Whether this caller may add a version of these facts. Raises DocumentNameTaken or VisibilityInvalid."""
    if not viewer.sees(document.visibility, document.author_id):
        raise DocumentNameTaken(document.display_name)
    if facts.visibility not in (None, document.visibility):
        # Else bytes that somebody meant for a few would be seen by many.
        raise VisibilityInvalid("", "the document of this name has another one: change that first, or leave it out")
