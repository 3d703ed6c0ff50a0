"""What goes between a worker, its nursery and a child.

Worker and nursery speak over a socket that keeps messages apart: an order, with the document and the result's pipe as
open files; KILL; an Ending. The child writes frames to the pipe. Its bytes are trusted by nobody.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Self

import orjson

from services.documents.parsing.limits import Limits

READY = b"ready"
KILL = b"kill"
MESSAGE_BYTES = 64 * 1024
_HEADER = struct.Struct("!BI")


@dataclass(frozen=True, slots=True)
class Order:
    """What to parse: the file at hand as `media_type`, within `limits`."""

    media_type: str
    limits: Limits

    def encode(self) -> bytes:
        """As a message."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """From a message of the worker's."""
        fields = orjson.loads(message)
        return cls(fields["media_type"], Limits(**fields["limits"]))


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: an exit code, or minus a signal; and by how many bytes it had grown at its largest."""

    code: int
    grown_bytes: int

    def encode(self) -> bytes:
        """As a message."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """From a message of the nursery's."""
        return cls(**orjson.loads(message))


class Kind(IntEnum):
    """What a frame holds: pages done, a Parsed, or a reason and a message."""

    PROGRESS = 1
    RESULT = 2
    FAILURE = 3


class Garbled(Exception):
    """These are no frames, or too long ones."""


def write_frame(descriptor: int, kind: Kind, payload: bytes) -> None:
    """Write a frame, whole. Raises OSError when nobody reads any more."""
    rest = memoryview(_HEADER.pack(kind, len(payload)) + payload)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class FrameReader:
    """Frames out of bytes as they come, none longer than `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that are whole now. Raises Garbled."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            number, length = _HEADER.unpack_from(self._buffer)
            if number not in (Kind.PROGRESS, Kind.RESULT, Kind.FAILURE) or length > self._most:
                raise Garbled
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield Kind(number), payload
