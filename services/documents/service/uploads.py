"""Use cases of DocumentService: uploads in parts."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from uuid import UUID

from services.documents.blobs.port import BlobMissing
from services.documents.errors import ContentHashMismatch, UploadLimitReached, UploadOffsetMismatch
from services.documents.model.documents import Document, Facts
from services.documents.model.names import UPLOAD
from services.documents.model.uploads import MAX_UPLOADS, Part, Upload
from services.documents.model.usage import Usage
from services.documents.service.admission import Admission
from services.documents.service.storage import Storage, remove_upload
from services.documents.service.units import DocumentsUnitOfWork, DocumentsUnits
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import ConcurrentUpdate, ResourceNotFound
from services.kernel.ids import new_id


class UploadService:
    """Uploads: begun, gone on with, finished, thrown away. Each belongs to who began it; others find none."""

    def __init__(self, units: DocumentsUnits, clock: Clock, storage: Storage, admission: Admission) -> None:
        self._units = units
        self._clock = clock
        self._storage = storage
        self._admission = admission

    def start(self, workspace_id: UUID, facts: Facts, size_bytes: int) -> Upload:
        """A new upload of the caller's.

        Raises DocumentEmpty, DocumentTooLarge, DocumentNameTaken, VisibilityInvalid, DocumentLimitReached,
        VersionLimitReached, StorageLimitReached, UploadLimitReached, or ResourceNotFound where the workspace is purged.
        """
        author_id, now = current_caller().require_user(), self._clock.now()
        upload = Upload.begun(workspace_id, facts, size_bytes, author_id, now, upload_id=new_id())
        self._admission.check_announced(workspace_id, size_bytes)
        with self._units() as uow:
            self._admission.check(uow, workspace_id, facts, more_bytes=size_bytes)
            if uow.repo.uploads.count_of(workspace_id, author_id, now) >= MAX_UPLOADS:
                raise UploadLimitReached(MAX_UPLOADS)
            uow.repo.uploads.add(upload)
            self._admission.charge(uow, workspace_id, Usage(upload_bytes=size_bytes))
            uow.commit()
        return upload

    def get(self, workspace_id: UUID, upload_id: UUID) -> Upload:
        """The upload. Raises ResourceNotFound."""
        with self._units() as uow:
            return self._own(uow.repo.uploads.get(workspace_id, upload_id), workspace_id, upload_id)

    def append(self, workspace_id: UUID, upload_id: UUID, offset: int, data: bytes) -> Upload:
        """The upload with one more part; as it is where it has this part already.

        Raises ResourceNotFound, FieldsInvalid, UploadOffsetMismatch, DocumentTooLarge, DependencyUnavailable or
        ConcurrentUpdate.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        with self._units() as uow:
            upload = self._own(uow.repo.uploads.get(workspace_id, upload_id), workspace_id, upload_id)
            upload.check_part(offset, len(data))
            if offset < upload.received_bytes:
                return _repeated(uow, upload, offset, sha256)
        if not offset:
            self._admission.check_begun(workspace_id, upload.size_bytes, upload.display_name, data)
        content = self._storage.write(workspace_id, [data])
        with self._storage.until_kept(workspace_id, content), self._units() as uow:
            upload = self._locked(uow, workspace_id, upload_id)
            if offset < upload.received_bytes:
                # Another call was quicker.
                upload = _repeated(uow, upload, offset, sha256)
                uow.repo.blobs.doom(workspace_id, [content.blob_id])
            else:
                upload = upload.with_part(offset, len(data))
                uow.repo.blobs.keep(workspace_id, content.blob_id)
                uow.repo.uploads.receive(upload, upload.part(offset, content))
            uow.commit()
        return upload

    def finish(self, workspace_id: UUID, upload_id: UUID, sha256: str) -> Document:
        """The document that the upload became, or a version of. The upload is gone then.

        Raises ResourceNotFound, UploadIncomplete, ContentHashMismatch, DocumentTooLarge, DocumentNameTaken,
        VisibilityInvalid, DocumentLimitReached, VersionLimitReached, CallDeadlineExceeded, ConcurrentUpdate or
        DependencyUnavailable.
        """
        with self._units() as uow:
            upload = self._own(uow.repo.uploads.get(workspace_id, upload_id), workspace_id, upload_id)
            upload.require_complete()
            # Its bytes count since it began.
            self._admission.check(uow, workspace_id, upload.facts, more_bytes=0)
            parts = uow.repo.uploads.parts_of(upload)
        chunks = chain.from_iterable(self._storage.read(workspace_id, part.blob_id) for part in parts)
        try:
            content = self._admission.receive(workspace_id, upload.facts, _compared(chunks, sha256), Usage())
        except BlobMissing:
            self._require_other_parts(upload, parts)
            raise ConcurrentUpdate from None
        return self._admission.admit(workspace_id, upload.facts, content, ending=upload)

    def cancel(self, workspace_id: UUID, upload_id: UUID) -> None:
        """Throw it away, with all that has arrived. Raises ResourceNotFound."""
        with self._units() as uow:
            upload = self._locked(uow, workspace_id, upload_id)
            remove_upload(uow, upload)
            uow.repo.usage.free(workspace_id, Usage(upload_bytes=upload.size_bytes))
            uow.commit()

    def _require_other_parts(self, upload: Upload, parts: Sequence[Part]) -> None:
        """Whether the parts lie elsewhere by now, under another key. Raises BlobMissing, or ResourceNotFound."""
        with self._units() as uow:
            found = uow.repo.uploads.get(upload.workspace_id, upload.upload_id)
            self._own(found, upload.workspace_id, upload.upload_id)
            if uow.repo.uploads.parts_of(upload) == parts:
                raise BlobMissing(f"a part of {upload.name} is not there")

    def _locked(self, uow: DocumentsUnitOfWork, workspace_id: UUID, upload_id: UUID) -> Upload:
        return self._own(uow.repo.uploads.lock(workspace_id, upload_id), workspace_id, upload_id)

    def _own(self, upload: Upload | None, workspace_id: UUID, upload_id: UUID) -> Upload:
        """The caller's own upload, as long as it is kept. Raises ResourceNotFound."""
        if upload is None or not upload.open_for(current_caller().require_user(), self._clock.now()):
            raise ResourceNotFound(UPLOAD.format(workspace=workspace_id, upload=upload_id))
        return upload


def _repeated(uow: DocumentsUnitOfWork, upload: Upload, offset: int, sha256: str) -> Upload:
    """The upload as it is, if it has this part. Raises UploadOffsetMismatch."""
    part = uow.repo.uploads.part_at(upload, offset)
    if part is None or part.sha256 != sha256:
        raise UploadOffsetMismatch(upload.received_bytes)
    return upload


def _compared(chunks: Iterable[bytes], sha256: str) -> Iterator[bytes]:
    """The chunks as they come. Raises ContentHashMismatch after the last, where another hash is expected."""
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
        yield chunk
    if sha256 and found.hexdigest() != sha256:
        # Before the store has made a blob of them.
        raise ContentHashMismatch(found.hexdigest())
