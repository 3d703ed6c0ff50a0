"""Blobs in a directory: a file each, by workspace, for its owner only."""

import os
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from services.documents.blobs.port import (
    BlobCorrupt,
    BlobMissing,
    BlobStoreUnavailable,
    Written,
    checked_key,
    checked_range,
)
from services.documents.blobs.streams import Tally

_CHUNK = 256 * 1024


class LocalBlobs:
    """A directory of blobs. A file has its name only once it is whole and on disk, so a kill leaves no half of one."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        # In the same file system as the blobs, or the rename would be a copy.
        self._partial = self._root / ".partial"

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        """See BlobStore."""
        path = self._path(key)
        partial = self._partial / str(uuid4())
        tally = Tally()
        with _answering(key):
            _make(self._partial)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb", buffering=0) as file:
                # What the chunks raise is theirs, and not the store's.
                for chunk in tally.through(chunks):
                    with _answering(key):
                        _write(file.fileno(), chunk)
                with _answering(key):
                    os.fsync(file.fileno())
            with _answering(key):
                _move(partial, path)
                _sync(path.parent)
                _sync(self._root)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
        return tally.written

    def read(self, key: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
        """See BlobStore."""
        path = self._path(key)
        checked_range(start, end)
        with _answering(key):
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                self._require_root()
                raise BlobMissing(f"there is no blob {key}") from None
        with open(descriptor, "rb", buffering=0) as file:
            with _answering(key):
                size = os.fstat(descriptor).st_size
                file.seek(start)
            if start > size:
                raise BlobCorrupt(f"blob {key} is shorter than it was")
            left = (size if end is None else end) - start
            while left > 0:
                with _answering(key):
                    chunk = file.read(min(left, _CHUNK))
                if not chunk:
                    return
                left -= len(chunk)
                yield chunk

    def delete(self, key: str) -> None:
        """See BlobStore."""
        path = self._path(key)
        with _answering(key):
            try:
                path.unlink()
                _sync(path.parent)
            except FileNotFoundError:
                self._require_root()
            # The last one of its workspace takes the directory with it; the others cannot.
            with suppress(OSError):
                path.parent.rmdir()

    def tidy(self, older_than: timedelta) -> int:
        """See BlobStore."""
        before = time.time() - older_than.total_seconds()
        removed = 0
        with _answering(self._partial.name):
            for partial in self._partial.glob("*"):
                # Another process may tidy as well.
                with suppress(FileNotFoundError):
                    if partial.stat().st_mtime <= before:
                        partial.unlink()
                        removed += 1
        return removed

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    def _require_root(self) -> None:
        """A volume that is not mounted holds all of its blobs still: none of them is missing or deleted."""
        self._root.stat()


@contextmanager
def _answering(key: str) -> Iterator[None]:
    """Tell the system's errors in the port's words."""
    try:
        yield
    except OSError as error:
        raise BlobStoreUnavailable(f"blob {key}: {error.strerror}") from error


def _make(directory: Path) -> None:
    """Make the directory and those above it, each on disk before it is used."""
    if not directory.is_dir():
        _make(directory.parent)
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        _sync(directory.parent)


def _move(partial: Path, path: Path) -> None:
    """Give the file its name, also where the directory's last blob is deleted at this moment, and it with it."""
    while True:
        _make(path.parent)
        try:
            partial.replace(path)
        except FileNotFoundError:
            # Raises where it is the partial file that is gone: tidied away, as nothing came for so long.
            partial.stat()
        else:
            return


def _write(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync(directory: Path) -> None:
    """A name in a directory outlives a power cut only when the directory itself is on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
