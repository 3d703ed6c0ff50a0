"""Encryption at rest around any store: AES-256-GCM in segments, under a key of the blob's own.

After the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance, 2015): the nonce of a segment is its number and whether it is the last, so that segments
cannot be cut off, exchanged or repeated; the blob's key is authenticated with each, so that no blob passes for another.
The header holds the data key, sealed by the keyring. It is as long for every blob, so that a range is found without it
being decoded, and so that another master key changes nothing behind it.
"""

import struct
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from itertools import chain

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.documents.blobs.port import BlobCorrupt, BlobStore, Written, checked_key, checked_range
from services.documents.blobs.streams import Source, Tally, pieces
from services.kernel.secrets import DecryptionError, Keyring

SEGMENT_BYTES = 64 * 1024

_MAGIC = b"PLSEAL\x00\x01"
_PREFIX = struct.Struct(f">{len(_MAGIC)}sH")
_HEADER_BYTES = 256
_TAG_BYTES = 16


class Sealed:
    """A store whose inner store sees only ciphertext. Raises BlobCorrupt for whatever it has not written itself.

    `segment_bytes` is the same for all blobs of a store: a range is decrypted in whole segments of it.
    """

    def __init__(self, inner: BlobStore, keyring: Keyring, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._inner = inner
        self._keyring = keyring
        self._segment = segment_bytes

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        """See BlobStore. Size and hash are those of the plain bytes."""
        data_key = AESGCM.generate_key(256)
        header = _header(self._keyring.encrypt(data_key, context=_context(key)))
        tally = Tally()
        segments = _Segments(data_key, key).seal(pieces(tally.through(chunks), self._segment))
        self._inner.write(key, chain([header], segments))
        return tally.written

    def read(self, key: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
        """See BlobStore. Reads and decrypts only the segments that hold the range."""
        checked_range(start, end)
        # The byte before the range must be there, or the blob has been cut short.
        first = max(start - 1, 0) // self._segment
        final = None if end is None else max(end - 1, 0) // self._segment
        # One byte behind the final segment tells whether that is the blob's last one.
        stop = None if final is None else self._place(final + 1) + 1
        with closing(self._inner.read(key, 0, _HEADER_BYTES if first else stop)) as head:
            source = Source(head)
            segments = _Segments(self._data_key(key, source.take(_HEADER_BYTES)), key)
            if first == 0:
                yield from self._open(segments, source, start, end, final)
                return
        with closing(self._inner.read(key, self._place(first), stop)) as body:
            yield from self._open(segments, Source(body), start, end, final)

    def delete(self, key: str) -> None:
        """See BlobStore."""
        self._inner.delete(key)

    def tidy(self, older_than: timedelta) -> int:
        """See BlobStore."""
        return self._inner.tidy(older_than)

    def is_current(self, key: str) -> bool:
        """Whether its data key is sealed under the current master key, and not a former one.

        Raises BlobMissing, BlobCorrupt.
        """
        with closing(self._inner.read(key, 0, _HEADER_BYTES)) as head:
            return _sealed_key(key, Source(head).take(_HEADER_BYTES)).startswith(self._keyring.mark)

    def _open(
        self, segments: "_Segments", source: Source, start: int, end: int | None, final: int | None
    ) -> Iterator[bytes]:
        """The plain bytes of the range, from a source that begins with the segment that `start - 1` is in."""
        number = max(start - 1, 0) // self._segment
        sealed = source.take(self._segment + _TAG_BYTES)
        while True:
            following = source.take(self._segment + _TAG_BYTES)
            plain = segments.open(number, sealed, last=not following)
            at = number * self._segment
            if at + len(plain) < start:
                raise _corrupt(segments.blob)
            if wanted := plain[max(start - at, 0) : None if end is None else end - at]:
                yield wanted
            if not following or number == final:
                return
            number, sealed = number + 1, following

    def _place(self, number: int) -> int:
        """Where the segment begins in the inner store's blob."""
        return _HEADER_BYTES + number * (self._segment + _TAG_BYTES)

    def _data_key(self, key: str, header: bytes) -> bytes:
        try:
            return self._keyring.decrypt(_sealed_key(key, header), context=_context(key))
        except DecryptionError:
            raise _corrupt(key) from None


class _Segments:
    """Seals and opens the segments of one blob."""

    def __init__(self, data_key: bytes, blob: str) -> None:
        self._cipher = AESGCM(data_key)
        self._bound = blob.encode()
        self.blob = blob

    def seal(self, plain: Iterable[tuple[bytes, bool]]) -> Iterator[bytes]:
        """The segments, each sealed, in their order."""
        for number, (piece, last) in enumerate(plain):
            yield self._cipher.encrypt(_nonce(number, last), piece, self._bound)

    def open(self, number: int, sealed: bytes, *, last: bool) -> bytes:
        """The plain bytes of the segment. Raises BlobCorrupt."""
        try:
            return self._cipher.decrypt(_nonce(number, last), sealed, self._bound)
        except InvalidTag:
            raise _corrupt(self.blob) from None


def _nonce(number: int, last: bool) -> bytes:
    # The data key is used for one writing of one blob, so that numbers are enough.
    return number.to_bytes(11, "big") + bytes([last])


def _context(key: str) -> str:
    return f"documents.blobs/{checked_key(key)}"


def _header(sealed_key: bytes) -> bytes:
    return (_PREFIX.pack(_MAGIC, len(sealed_key)) + sealed_key).ljust(_HEADER_BYTES, b"\0")


def _sealed_key(key: str, header: bytes) -> bytes:
    """What `_header` was made of. Raises BlobCorrupt where a byte of it is another."""
    if len(header) == _HEADER_BYTES:
        _, length = _PREFIX.unpack_from(header)
        sealed_key = header[_PREFIX.size : _PREFIX.size + length]
        if _header(sealed_key) == header:
            return sealed_key
    raise _corrupt(key)


def _corrupt(key: str) -> BlobCorrupt:
    return BlobCorrupt(f"blob {key} is damaged, is not sealed, or its master key is gone")
