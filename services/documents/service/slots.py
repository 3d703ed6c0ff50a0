"""Places at the parsers of one worker: whoever has none waits, and holds no connection meanwhile."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_LOOK_SECONDS = 0.1


class Slot:
    """One place, that may be taken and given back; at the latest when it is left. Used by one thread."""

    def __init__(self, slots: threading.Semaphore) -> None:
        self._slots = slots
        self._taken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.free()

    def take(self, check: Callable[[], None]) -> None:
        """Wait for it, unless it is taken. `check` is called ten times a second; what it raises passes through."""
        while not self._taken:
            self._taken = self._slots.acquire(timeout=_LOOK_SECONDS)
            if not self._taken:
                check()

    def free(self) -> None:
        """Give it back, if it is taken."""
        if self._taken:
            self._taken = False
            self._slots.release()
