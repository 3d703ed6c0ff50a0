"""What a store of blobs does, whatever is behind it."""

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID, uuid4

_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY = re.compile(f"{_ID}/{_ID}")
# Of no workspace: where `check` tries a store out.
_NOBODY = UUID(int=0)
_PROBE = b"plinth"


class BlobError(Exception):
    """Something about a blob; the message names its key and no secret."""


class BlobMissing(BlobError):
    """There is nothing under the key."""


class BlobCorrupt(BlobError):
    """What lies under the key is not, or not all of, what was written. Trying again does not help."""


class BlobStoreUnavailable(BlobError):
    """The store could not be reached, or refused. Trying again later may help."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: its size in bytes, and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


class BlobStore(Protocol):
    """Whole blobs by key; see `blob_key`. Every method may raise BlobStoreUnavailable."""

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        """Store the chunks, one after the other, as one blob, in place of what may be there.

        All or nothing: it is on disk and whole before anybody can read it, and not there at all when the chunks raise
        or the process dies.
        """
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
        """The bytes from `start` up to `end` or the blob's end, in chunks of bounded size.

        Nothing is opened before the first chunk is asked for. Raises BlobMissing, and BlobCorrupt: where the blob ends
        before `start`, or, as late as after the last chunk, where the store finds that it is damaged.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete the blob for good. One that is not there is deleted already."""
        ...

    def tidy(self, older_than: timedelta) -> int:
        """Remove what writes have left that were broken off and untouched for so long. Returns how many there were."""
        ...


def blob_key(workspace_id: UUID, blob_id: UUID) -> str:
    """The key of a blob, `<workspace id>/<blob id>`."""
    return f"{workspace_id}/{blob_id}"


def checked_key(key: str) -> str:
    """The key itself. Raises ValueError where it is none, as `../secrets` is."""
    if not _KEY.fullmatch(key):
        raise ValueError("a blob's key is <workspace id>/<blob id>")
    return key


def checked_range(start: int, end: int | None) -> None:
    """Raises ValueError unless 0 ≤ start ≤ end."""
    if start < 0 or (end is not None and end < start):
        raise ValueError(f"no range of bytes goes from {start} to {end}")


def check(store: BlobStore) -> None:
    """Try at start-up what a store must do: write, read and delete. Raises BlobError."""
    key = blob_key(_NOBODY, uuid4())
    store.write(key, [_PROBE])
    try:
        if b"".join(store.read(key)) != _PROBE:
            raise BlobCorrupt("the blob store does not return what was written")
    finally:
        store.delete(key)
