"""What a process keeps of indexes: as many bytes as it may, what was used last the longest."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Of a key, an entry, and the objects around the arrays of a value.
_OVERHEAD = 600


class LruCache(Generic[K, V]):
    """Values by key, with their sizes in bytes. Safe for many threads; a value larger than all of it is not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """What is kept under the key."""
        return self.get_all([key]).get(key)

    def get_all(self, keys: Iterable[K]) -> dict[K, V]:
        """What is kept under those of the keys that there are."""
        found: dict[K, V] = {}
        with self._lock:
            for key in keys:
                entry = self._entries.get(key)
                if entry is not None:
                    self._entries.move_to_end(key)
                    found[key] = entry[0]
        return found

    def put(self, key: K, value: V, size: int) -> None:
        """Keep it, in the place of what was there."""
        with self._lock:
            replaced = self._entries.pop(key, None)
            if replaced is not None:
                self._room += replaced[1]
            self._entries[key] = (value, size + _OVERHEAD)
            self._room -= size + _OVERHEAD
            while self._room < 0:
                _, (_, freed) = self._entries.popitem(last=False)
                self._room += freed
