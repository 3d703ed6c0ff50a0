"""Places at the parsers of one worker: whoever has none waits, and holds no connection meanwhile.

The next place goes to whoever's workspace has the fewest, and of those to the one that was given none for longest, file
by file as they came: who comes while several have many slow files waits for one of each at most. One place more than
there are is given while a single workspace has them all, to another one: so slow files of one do not keep those of
others waiting, and nobody's parsers idle for the sake of somebody who may come.
"""

import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import UUID

_LOOK_SECONDS = 0.1


class Slots:
    """The places: `count`, and the one more."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: Counter[UUID] = Counter()
        self._waiting: list[Slot] = []
        self._changed = threading.Condition()

    def of(self, workspace_id: UUID) -> "Slot":
        """A place for a document of this workspace, to be taken."""
        return Slot(self, workspace_id)

    def state(self) -> tuple[int, int]:
        """How many places are taken, and how many wait for one."""
        with self._changed:
            return self._held.total(), len(self._waiting)

    def take(self, slot: "Slot", check: Callable[[], None]) -> None:
        """Wait for the place. `check` is called ten times a second; what it raises passes through."""
        with self._changed:
            self._waiting.append(slot)
        try:
            while not self._given(slot):
                check()
        finally:
            with self._changed:
                self._waiting.remove(slot)
                self._changed.notify_all()

    def free(self, workspace_id: UUID) -> None:
        """Take a place of the workspace back."""
        with self._changed:
            self._held[workspace_id] -= 1
            if not self._held[workspace_id]:
                del self._held[workspace_id]
            self._changed.notify_all()

    def _given(self, slot: "Slot") -> bool:
        with self._changed:
            if not self._changed.wait_for(lambda: self._next() is slot, _LOOK_SECONDS):
                return False
            self._held[slot.workspace_id] += 1
            self._send_to_the_end(slot.workspace_id)
            return True

    def _send_to_the_end(self, workspace_id: UUID) -> None:
        """Whoever waits of this workspace stands behind all others, in the order in which they came."""
        self._waiting.sort(key=lambda slot: slot.workspace_id == workspace_id)

    def _next(self) -> "Slot | None":
        """Whose turn it is, if there is a place for them."""
        first = min(self._waiting, key=lambda slot: self._held[slot.workspace_id], default=None)
        if first is None:
            return None
        taken = self._held.total()
        is_kept_out = taken == self._count and len(self._held) == 1 and first.workspace_id not in self._held
        return first if taken < self._count or is_kept_out else None


class Slot:
    """One place, that may be taken and given back; at the latest when it is left. Used by one thread."""

    def __init__(self, slots: Slots, workspace_id: UUID) -> None:
        self._slots = slots
        self._taken = False
        self.workspace_id = workspace_id

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.free()

    def take(self, check: Callable[[], None]) -> None:
        """Wait for it, unless it is taken. `check` is called ten times a second; what it raises passes through."""
        if not self._taken:
            self._slots.take(self, check)
            self._taken = True

    def free(self) -> None:
        """Give it back, if it is taken."""
        if self._taken:
            self._taken = False
            self._slots.free(self.workspace_id)
