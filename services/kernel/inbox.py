"""From a cursor to the head without a gap: the past out of the log, the present out of the process's tail."""

import threading
from collections import deque
from dataclasses import dataclass

from services.kernel.event_log import EventSource, LogTail
from services.kernel.events import Event


@dataclass(frozen=True, slots=True)
class Passage:
    """The next events of the types asked for; `upto`: the position up to which there are no others."""

    events: list[Event]
    upto: int


class Inbox:
    """Keeps what a tail hands out until one reader takes it; a reader that falls behind reads the log again."""

    def __init__(self, source: EventSource, tail: LogTail, types: frozenset[str], *, room: int = 5000) -> None:
        self._source = source
        self._tail = tail
        self._types = types
        self._room = room
        self._kept: deque[Event] = deque()
        # Of all after `_start` up to `_seen`, those of the types are kept. None: nothing came yet.
        self._start: int | None = None
        self._seen = 0
        self._come = threading.Condition()
        self._leave = tail.subscribe(self._put)

    def close(self) -> None:
        """Take no more."""
        self._leave()

    def take(self, cursor: int, limit: int, timeout: float) -> Passage:
        """What follows the cursor; waits up to so many seconds for it. Raises what the source raises."""
        start = self._start if self._start is not None else self._tail.position
        if start is None:
            with self._come:
                self._come.wait(timeout)
            return Passage([], cursor)
        if cursor < start:
            return self._from_log(cursor, limit, start)
        with self._come:
            if self._start is None:
                self._start = self._seen = start
            while self._kept and self._kept[0].position <= cursor:
                self._kept.popleft()
            if not self._kept and self._seen <= cursor:
                self._come.wait(timeout)
            if self._start > cursor:
                return Passage([], cursor)
            events = [self._kept.popleft() for _ in range(min(limit, len(self._kept)))]
            return Passage(events, events[-1].position if self._kept else max(self._seen, cursor))

    def _from_log(self, cursor: int, limit: int, start: int) -> Passage:
        # Of all types: a page that looks for a rare one through a long past would outlast its statement's time.
        events = self._source.read(cursor, limit)
        last = events[-1].position if events else cursor
        # The tail had seen `start` before this was read, so a page that is not full reaches it.
        return Passage(self._wanted(events), last if len(events) == limit else max(last, start))

    def _wanted(self, events: list[Event]) -> list[Event]:
        return [event for event in events if not self._types or event.type in self._types]

    def _put(self, events: list[Event]) -> None:
        with self._come:
            first, last = events[0].position, events[-1].position
            if self._start is None:
                self._start = first - 1
            elif first != self._seen + 1:
                self._kept.clear()
                self._start = first - 1
            self._seen = last
            wanted = self._wanted(events)
            if len(self._kept) + len(wanted) > self._room:
                self._kept.clear()
                self._start = last
            else:
                self._kept.extend(wanted)
            if wanted:
                self._come.notify()
