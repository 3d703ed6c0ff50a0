"""Use cases of DocumentService, but for uploads in parts."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from uuid import UUID

from services.documents.blobs.port import BlobCorrupt, BlobMissing
from services.documents.errors import IngestionStateConflict, VersionNotFound
from services.documents.model.allowance import Allowance
from services.documents.model.documents import Document, DocumentPatch, DocumentVersion, Facts
from services.documents.model.ingestions import Ingestion
from services.documents.model.names import INGESTION
from services.documents.model.usage import Usage
from services.documents.model.visibility import Viewer
from services.documents.repository.documents import FIELDS
from services.documents.service import ingestion_lifecycle, news
from services.documents.service.admission import Admission
from services.documents.service.allowances import Allowances
from services.documents.service.storage import Storage
from services.documents.service.units import DocumentsUnitOfWork, DocumentsUnits, current_viewer, seen
from services.kernel.clock import Clock
from services.kernel.deadline import check_deadline
from services.kernel.errors import PageTokenInvalid
from services.kernel.etags import check_etag
from services.kernel.paging import Page, Pager

_NEWEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Download:
    """A version on its way out: what it is, what the document is called, and the bytes, the first of which are here."""

    display_name: str
    version: DocumentVersion
    chunks: Iterator[bytes]


class DocumentService:
    """Documents: uploaded, found, changed, read, processed again, deleted. Who may not see one finds none."""

    def __init__(
        self,
        units: DocumentsUnits,
        clock: Clock,
        pager: Pager,
        storage: Storage,
        allowances: Allowances,
        admission: Admission,
    ) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._storage = storage
        self._allowances = allowances
        self._admission = admission

    def create(self, workspace_id: UUID, facts: Facts, chunks: Iterable[bytes]) -> Document:
        """The document that the bytes became, or a version of.

        Raises DocumentEmpty, DocumentTooLarge, DocumentNameTaken, VisibilityInvalid, DocumentLimitReached,
        VersionLimitReached, StorageLimitReached, CallDeadlineExceeded, DependencyUnavailable, ConcurrentUpdate, or
        ResourceNotFound where the workspace is purged.
        """
        with self._units() as uow:
            usage = self._admission.check(uow, workspace_id, facts, more_bytes=1)
        content = self._admission.receive(workspace_id, facts, chunks, usage)
        return self._admission.admit(workspace_id, facts, content)

    def get(self, workspace_id: UUID, document_id: UUID) -> Document:
        """The document. Raises ResourceNotFound."""
        with self._units() as uow:
            return self._seen(uow, workspace_id, document_id)

    def list_documents(
        self, workspace_id: UUID, page_size: int, page_token: str, filter: str, order_by: str
    ) -> tuple[list[Document], str]:
        """A page of documents, and the token of the next. Raises PageTokenInvalid, FilterInvalid or OrderByInvalid."""
        page = self._pager.page(page_token, page_size, "ListDocuments", str(workspace_id), filter, order_by)
        wanted = FIELDS.query(filter, order_by)
        with self._units() as uow:
            found = uow.repo.documents.list_page(workspace_id, wanted, page, current_viewer())
        return self._pager.cut(page, found, wanted.key_of)

    def list_versions(
        self, workspace_id: UUID, document_id: UUID, page_size: int, page_token: str
    ) -> tuple[list[DocumentVersion], str]:
        """A page of a document's versions, the newest first. Raises ResourceNotFound or PageTokenInvalid."""
        query = ("ListDocumentVersions", str(workspace_id), str(document_id))
        page = self._pager.page(page_token, page_size, *query)
        before = _version_before(page)
        with self._units() as uow:
            self._seen(uow, workspace_id, document_id)
            found = uow.repo.versions.list_page(workspace_id, document_id, before, page.count)
        return self._pager.cut(page, found, lambda version: (version.version,))

    def resolve(self, workspace_id: UUID, document_ids: Sequence[UUID], viewer: Viewer) -> list[Document]:
        """Those of the documents that the viewer may see, in no order."""
        with self._units(workspace_id) as uow:
            return uow.repo.documents.list_seen(workspace_id, document_ids, viewer)

    def update(self, workspace_id: UUID, document_id: UUID, etag: str, patch: DocumentPatch) -> Document:
        """The document after the patch.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, FieldsInvalid or DocumentNameTaken.
        """
        with self._units() as uow:
            before = self._locked(uow, workspace_id, document_id)
            check_etag(etag, before.version, before.name)
            after = before.changed(patch, self._clock.now())
            if after is not before:
                uow.repo.documents.save(after)
                uow.emit(after.name, news.updated(before, after), restricted=before.hidden or after.hidden)
                ingestion_lifecycle.tell_watchers(uow, after)
                uow.commit()
        return after

    def delete(self, workspace_id: UUID, document_id: UUID, etag: str) -> None:
        """Delete it for good, with all of its versions; its bytes are collected. Raises as `update`."""
        with self._units() as uow:
            document = self._locked(uow, workspace_id, document_id)
            check_etag(etag, document.version, document.name)
            size_bytes = uow.repo.versions.size_of(workspace_id, document_id)
            uow.repo.blobs.doom_of_document(workspace_id, document_id)
            uow.repo.documents.remove(document)
            uow.emit(document.name, news.deleted(document), restricted=document.hidden)
            ingestion_lifecycle.tell_watchers(uow, document)
            uow.repo.usage.free(workspace_id, Usage(documents=1, version_bytes=size_bytes))
            uow.commit()

    def download(self, workspace_id: UUID, document_id: UUID, version: int) -> Download:
        """The bytes of a version; 0: of the newest one.

        Raises ResourceNotFound, VersionNotFound or DependencyUnavailable.
        """
        display_name, found = self._version(workspace_id, document_id, version)
        while True:
            chunks = self._storage.read(workspace_id, found.blob_id)
            try:
                # Now, while it can still be told what is wrong.
                first = next(chunks, b"")
            except BlobMissing:
                before = found
                # It may have been deleted meanwhile, or lie elsewhere under another key.
                display_name, found = self._version(workspace_id, document_id, found.version)
                if found.blob_id == before.blob_id:
                    raise
            else:
                return Download(display_name, found, _whole(found, first, chunks))

    def reprocess(self, workspace_id: UUID, document_id: UUID) -> Ingestion:
        """A new ingestion of the newest version. Raises ResourceNotFound or IngestionStateConflict."""
        with self._units() as uow:
            document = self._locked(uow, workspace_id, document_id)
            if document.ingestion_id is not None and not document.ingestion_state.ended:
                under_way = INGESTION.format(workspace=workspace_id, ingestion=document.ingestion_id)
                raise IngestionStateConflict(under_way, document.ingestion_state.wire_name)
            ingestion = ingestion_lifecycle.begin(uow, document, self._clock.now())
            uow.commit()
        return ingestion

    def usage(self, workspace_id: UUID) -> tuple[Usage, Allowance]:
        """What the workspace stores, also of documents that the caller may not see; and what it may."""
        with self._units() as uow:
            return uow.repo.usage.get(workspace_id), self._allowances.of(workspace_id)

    def _version(self, workspace_id: UUID, document_id: UUID, version: int) -> tuple[str, DocumentVersion]:
        """What the document is called, and a version of it; 0: the newest.

        Raises ResourceNotFound or VersionNotFound.
        """
        with self._units() as uow:
            document = self._seen(uow, workspace_id, document_id)
            number = version or document.current_version
            found = uow.repo.versions.get(workspace_id, document_id, number)
        if found is None:
            raise VersionNotFound(document.name, number)
        return document.display_name, found

    def _seen(self, uow: DocumentsUnitOfWork, workspace_id: UUID, document_id: UUID) -> Document:
        found = uow.repo.documents.get(workspace_id, document_id)
        return seen(found, workspace_id, document_id, current_viewer())

    def _locked(self, uow: DocumentsUnitOfWork, workspace_id: UUID, document_id: UUID) -> Document:
        found = uow.repo.documents.lock(workspace_id, document_id)
        return seen(found, workspace_id, document_id, current_viewer())


def _whole(version: DocumentVersion, first: bytes, others: Generator[bytes]) -> Iterator[bytes]:
    """All bytes of a version. Raises BlobCorrupt at the end of what is left of one: nobody is to take it for whole."""
    with closing(others):
        yield first
        size = len(first)
        for chunk in others:
            check_deadline()
            yield chunk
            size += len(chunk)
    if size != version.size_bytes:
        raise BlobCorrupt(f"blob {version.blob_id} has {size} bytes of {version.size_bytes}")


def _version_before(page: Page) -> int:
    match page.after:
        case None:
            return _NEWEST
        case (int() as version,):
            return version
        case _:
            raise PageTokenInvalid
