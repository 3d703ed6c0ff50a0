"""Keeps calls to a provider within what it allows per minute, so that it need not refuse them."""

import threading
from datetime import timedelta
from typing import Protocol

from services.search.embedders.port import ProviderBusy

# What may be sent at once after a rest, as seconds' worth. Providers count by the minute, and some by the second.
_BURST_SECONDS = 10.0
_ROUNDING = 1e-6


class Time(Protocol):
    """Monotonic seconds and how to wait for them: the module `time`, or a clock that a test holds."""

    def monotonic(self) -> float:
        """Seconds since some moment."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Return after so many seconds."""
        ...


class RateLimiter:
    """Two buckets, of requests and of tokens, for all threads of a process.

    Nobody stands in line: who needs little goes as soon as there is little, so that a query overtakes the batches.
    """

    def __init__(self, requests_per_minute: float, tokens_per_minute: float, time: Time) -> None:
        self._time = time
        self._lock = threading.Lock()
        self._rates = (requests_per_minute / 60, tokens_per_minute / 60)
        self._levels = self._capacities = tuple(max(rate * _BURST_SECONDS, 1.0) for rate in self._rates)
        self._at = time.monotonic()

    def wait(self, tokens: float, deadline: float) -> None:
        """Return when a request of so many tokens may be sent.

        Raises ProviderBusy at once when that is after the deadline (monotonic seconds).
        """
        while seconds := self._take((1.0, tokens)):
            if self._time.monotonic() + seconds > deadline:
                raise ProviderBusy("The limit of calls to the provider is reached.", timedelta(seconds=seconds))
            self._time.sleep(seconds)

    def _take(self, amounts: tuple[float, float]) -> float:
        """0 where the amounts were taken; seconds until they may be there."""
        with self._lock:
            now = self._time.monotonic()
            passed, self._at = now - self._at, now
            refilled = zip(self._levels, self._rates, self._capacities, strict=True)
            self._levels = tuple(min(level + passed * rate, capacity) for level, rate, capacity in refilled)
            # What is more than a bucket holds takes all of it, and leaves a debt.
            wanted = map(min, amounts, self._capacities)
            missing = [want - level for want, level in zip(wanted, self._levels, strict=True)]
            if max(missing) > _ROUNDING:
                return max(missed / rate for missed, rate in zip(missing, self._rates, strict=True))
            self._levels = tuple(level - amount for level, amount in zip(self._levels, amounts, strict=True))
            return 0.0
