"""A cache that the invalidation feed keeps true.

An entry counts only while the feed is healthy; a fill that an invalidation overtook is used once and not kept; absence
is never cached, so that nobody is refused who may.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from services.kernel.feed import Feed, Invalidation

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MAX_ENTRIES = 100_000


class FeedCache(Generic[K, V]):
    """Holds what its callers found; `concerns` says which invalidation hits which entry."""

    def __init__(self, feed: Feed, concerns: Callable[[Invalidation, K, V], bool]) -> None:
        self._feed = feed
        self._concerns = concerns
        self._entries: dict[K, V] = {}
        self._version = 0
        self._lock = threading.Lock()
        feed.subscribe(self._invalidate)

    def known(self, key: K) -> V | None:
        """What was found of `key` and still counts; None where that is nothing."""
        value = self._entries.get(key)
        return value if value is not None and self._feed.healthy() else None

    def get(self, key: K, find: Callable[[], V | None]) -> V | None:
        """What is known of `key`, or else what `find` finds now; None where there is nothing."""
        value = self.known(key)
        return self.refresh(key, find) if value is None else value

    def refresh(self, key: K, find: Callable[[], V | None]) -> V | None:
        """What `find` finds now: asked before any refusal."""
        version = self._version
        value = find()
        with self._lock:
            if value is None:
                self._entries.pop(key, None)
            elif version == self._version:
                if len(self._entries) >= _MAX_ENTRIES:
                    self._entries.pop(next(iter(self._entries)))
                self._entries[key] = value
        return value

    def _invalidate(self, invalidation: Invalidation | None) -> None:
        with self._lock:
            self._version += 1
            if invalidation is None:
                self._entries.clear()
                return
            hit = [key for key, value in self._entries.items() if self._concerns(invalidation, key, value)]
            for key in hit:
                del self._entries[key]
