"""Chunks on their way into a store: counted, and cut to size."""

import hashlib
from collections.abc import Iterable, Iterator

from services.documents.blobs.port import Written


class Tally:
    """Counts and hashes what passes through it."""

    def __init__(self) -> None:
        self._size = 0
        self._hash = hashlib.sha256()

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks as they come."""
        for chunk in chunks:
            self._size += len(chunk)
            self._hash.update(chunk)
            yield chunk

    @property
    def written(self) -> Written:
        """What has passed so far."""
        return Written(self._size, self._hash.hexdigest())


def pieces(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """The same bytes in pieces of `size`, each with whether it is the last, which may be shorter or empty."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) > size:
            yield bytes(memoryview(waiting)[:size]), False
            del waiting[:size]
    yield bytes(waiting), True


class Source:
    """Takes so many bytes at a time from chunks of any size."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._waiting = bytearray()

    def take(self, count: int) -> bytes:
        """The next `count` bytes; fewer only at the end."""
        while len(self._waiting) < count and (chunk := next(self._chunks, b"")):
            self._waiting += chunk
        taken = bytes(memoryview(self._waiting)[:count])
        del self._waiting[:count]
        return taken
