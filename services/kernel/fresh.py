"""What is dear to ask and is asked often: gauges that count rows, at each scrape."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from services.kernel.errors import PlinthError

T = TypeVar("T")

_FRESH_SECONDS = 10.0


class Fresh(Generic[T]):
    """Asks for something no more often than every ten seconds, however many want to know."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._latest: T | None = None
        self._asked = float("-inf")

    def get(self) -> T | None:
        """The latest answer; None where there is none, as the database is out of reach: nothing rather than the old."""
        with self._lock:
            if time.monotonic() - self._asked > _FRESH_SECONDS:
                try:
                    self._latest = self._ask()
                except PlinthError:
                    return None
                self._asked = time.monotonic()
            return self._latest
