"""Identifiers: UUID version 7 (RFC 9562 §5.7), so that ids sort by the time they were minted."""

import os
import threading
import time
from uuid import UUID

_RAND_B_BITS = 62
_RAND_B_MASK = (1 << _RAND_B_BITS) - 1


class _Ticks:
    """Time in 1/4096 ms, that never stands still and never goes back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() * 4096 // 1_000_000)
            return self._last


_ticks = _Ticks()


def new_id() -> UUID:
    """A new UUIDv7; strictly increasing within the process (RFC 9562 §6.2, method 3: 1/4096 ms in rand_a)."""
    tick = _ticks.next()
    milliseconds, fraction = tick >> 12, tick & 0xFFF
    random = int.from_bytes(os.urandom(8), "big") & _RAND_B_MASK
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random)
