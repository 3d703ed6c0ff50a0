"""Bytes on their way into the blob store and out of it.

A row is there before the bytes, and goes after them: so a process that dies anywhere leaves a row that says what may
lie in the store, and the store is never listed. Three steps, of which the second holds no connection:

1. a commit of its own adds the row, `writing`;
2. the bytes are written, all or nothing;
3. the commit of whatever refers to them makes the row `live` (`BlobRepository.keep`).

What comes to no third step is collected a day later (`housekeeping`).
"""

import io
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from uuid import UUID

from services.documents.blobs.port import BlobStore, BlobStoreUnavailable, blob_key, check
from services.documents.model.documents import Content
from services.documents.model.uploads import Upload
from services.documents.service.units import DocumentsUnitOfWork, DocumentsUnits
from services.kernel.clock import Clock
from services.kernel.errors import DependencyUnavailable, PlinthError
from services.kernel.idempotency import unclaimed
from services.kernel.ids import new_id
from services.kernel.unit_of_work import forbid_open_unit

_DEPENDENCY = "blob store"
_BUFFER_BYTES = 64 * 1024


class Storage:
    """The blobs of workspaces. None of it is called while a unit of work is open."""

    def __init__(self, units: DocumentsUnits, clock: Clock, store: BlobStore) -> None:
        self._units = units
        self._clock = clock
        self._store = store

    def check(self) -> None:
        """Whether the store can be written, read and deleted from. Raises DependencyUnavailable."""
        with _reaching_the_store():
            check(self._store)

    def write(self, workspace_id: UUID, chunks: Iterable[bytes]) -> Content:
        """Store the chunks as a blob of the workspace, for `keep`. Raises DependencyUnavailable."""
        blob_id = new_id()
        with unclaimed(), self._units(workspace_id) as uow:
            uow.repo.blobs.add(workspace_id, blob_id, self._clock.now())
            uow.commit()
        with _reaching_the_store():
            written = self._store.write(blob_key(workspace_id, blob_id), chunks)
        return Content(blob_id, written.size, written.sha256)

    @contextmanager
    def until_kept(self, workspace_id: UUID, content: Content) -> Iterator[None]:
        """Around the third step: where it is refused, the bytes are collected with the next sweep, and not in a day."""
        try:
            yield
        except PlinthError:
            with suppress(PlinthError):
                self.drop(workspace_id, content)
            raise

    def drop(self, workspace_id: UUID, content: Content) -> None:
        """Have bytes collected that nothing will refer to; those that were kept stay, whoever knows of it or not."""
        with unclaimed(), self._units(workspace_id) as uow:
            uow.repo.blobs.drop(workspace_id, content.blob_id)
            uow.commit()

    def read(self, workspace_id: UUID, blob_id: UUID, start: int = 0, end: int | None = None) -> Generator[bytes]:
        """The bytes of a blob from `start` up to `end`, in chunks. Raises DependencyUnavailable."""
        with _reaching_the_store(), closing(self._store.read(blob_key(workspace_id, blob_id), start, end)) as chunks:
            yield from chunks

    def delete(self, workspace_id: UUID, blob_id: UUID) -> None:
        """Delete the bytes for good; no harm where there are none. Raises DependencyUnavailable."""
        with _reaching_the_store():
            self._store.delete(blob_key(workspace_id, blob_id))

    def tidy(self, older_than: timedelta) -> int:
        """Remove what broken writes have left in the store itself: how many. Raises DependencyUnavailable."""
        with _reaching_the_store():
            return self._store.tidy(older_than)

    def open(self, workspace_id: UUID, content: Content) -> io.BufferedReader:
        """The blob as a file that can be sought."""
        return io.BufferedReader(_BlobFile(self, workspace_id, content), _BUFFER_BYTES)


class _BlobFile(io.RawIOBase):
    """Each read asks the store for just the range."""

    def __init__(self, storage: Storage, workspace_id: UUID, content: Content) -> None:
        self._storage = storage
        self._workspace_id = workspace_id
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; the place from the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]  # a buffer of any kind
        """Fill the buffer as far as there are bytes; how many."""
        end = min(self._at + len(buffer), self._content.size_bytes)
        if end <= self._at:
            return 0
        data = b"".join(self._storage.read(self._workspace_id, self._content.blob_id, self._at, end))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def remove_upload(uow: DocumentsUnitOfWork, upload: Upload) -> None:
    """Delete an upload that is locked, and have its parts collected."""
    uow.repo.blobs.doom_of_upload(upload.workspace_id, upload.upload_id)
    uow.repo.uploads.remove(upload.workspace_id, upload.upload_id)


@contextmanager
def _reaching_the_store() -> Iterator[None]:
    forbid_open_unit()
    try:
        yield
    except BlobStoreUnavailable as error:
        raise DependencyUnavailable(_DEPENDENCY) from error
