"""The event log as a Watch stream reads it: first what came after the client's cursor, then what comes, without a gap.

A cursor is a position of the log in text. It stands for all streams alike, so a client may resume at any process.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.kernel.errors import CursorInvalid, DependencyUnavailable, ShuttingDown
from services.kernel.event_log import EventSource, LogTail
from services.kernel.events import Event
from services.kernel.sse import HEARTBEAT

# How many events are read from the log at once, and how many one stream keeps that its client has not taken yet.
_PAGE = 500
_MAX_WAITING = 1_000
_CURSOR = re.compile(r"0|[1-9][0-9]{0,17}")

# Whether a stream tells of an event. Asked on the loop about each of the workspace's events: it must be quick.
Wanted = Callable[[Event], bool]


@dataclass(frozen=True, slots=True)
class Step:
    """The next events for one stream, oldest first, and the cursor after them. None at all: a heartbeat."""

    events: Sequence[Event]
    cursor: str


def position_of(cursor: str) -> int:
    """The position that a cursor stands for. Raises CursorInvalid."""
    if not _CURSOR.fullmatch(cursor):
        raise CursorInvalid
    return int(cursor)


class _Reader:
    """What has come for one stream and was not taken yet. Touched on the loop alone."""

    __slots__ = ("_waiting", "_wanted", "arrived", "lost")

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._waiting: list[Event] = []
        # Some that came are not kept here: the log has them.
        self.lost = False
        self.arrived = asyncio.Event()

    def hear(self, event: Event) -> None:
        if self.lost or not self._wanted(event):
            return
        if len(self._waiting) >= _MAX_WAITING:
            # A client that takes them slowly gets them from the log, when it comes to them.
            self.lose()
        else:
            self._waiting.append(event)
            self.arrived.set()

    def lose(self) -> None:
        self._waiting.clear()
        self.lost = True
        self.arrived.set()

    def take(self) -> list[Event]:
        taken, self._waiting = self._waiting, []
        self.arrived.clear()
        return taken


class LogStreams:
    """All Watch streams of one process, over one tail of the log. Made on the loop that serves them."""

    def __init__(self, source: EventSource, tail: LogTail, heartbeat: timedelta = HEARTBEAT) -> None:
        self._source = source
        self._tail = tail
        self._loop = asyncio.get_running_loop()
        self._heartbeat = heartbeat.total_seconds()
        self._readers: dict[UUID, set[_Reader]] = {}
        self._position = 0
        self._ending = False
        self._unsubscribe = tail.subscribe(self._hear)

    def end(self) -> None:
        """End every stream with ShuttingDown, so that its client resumes elsewhere; new ones likewise."""
        self._unsubscribe()
        self._ending = True
        for reader in self._all_readers():
            reader.arrived.set()

    async def follow(self, workspace_id: UUID, cursor: str, wanted: Wanted) -> AsyncGenerator[Step, None]:
        """The workspace's events that are wanted after the cursor; an empty cursor: from now on.

        The first step comes at once and may hold no event: so a client learns early that it is connected, and where it
        is. Later a step without events is a heartbeat, whatever passes by meanwhile that is not wanted. Raises
        CursorInvalid, CursorExpired, DependencyUnavailable and ShuttingDown; whatever it was, the cursor of the last
        step leads on.
        """
        after = position_of(cursor) if cursor else None
        reader = _Reader(wanted)
        self._readers.setdefault(workspace_id, set()).add(reader)
        try:
            position = await self._beginning(after)
            behind, beat = after is not None, self._loop.time()
            while not self._ending:
                if behind or reader.lost:
                    reader.lost = False
                    # With what is not wanted: a page that looked for a rare type in a long past would take too long.
                    page = await asyncio.to_thread(self._source.read, position, _PAGE, workspace_id=workspace_id)
                    behind = len(page) == _PAGE
                    position = page[-1].position if page else position
                    events = [event for event in page if wanted(event)]
                else:
                    events = [event for event in reader.take() if event.position > position]
                    # All that the tail has told up to here was told to this reader: what it did not keep is not wanted.
                    position = max(position, self._position)
                if events or self._loop.time() >= beat:
                    yield Step(events, str(position))
                    beat = self._loop.time() + self._heartbeat
                elif not behind and not reader.lost:
                    await self._arrival(reader, beat)
            raise ShuttingDown
        finally:
            self._forget(workspace_id, reader)

    async def _beginning(self, after: int | None) -> int:
        """Where to begin to read. What is appended from now on, the reader will be told."""
        if self._tail.position is None:
            # It has not looked yet, so nobody knows from where on it will tell.
            raise DependencyUnavailable("event log")
        head = await asyncio.to_thread(self._source.head)
        if after is None:
            return head
        if after > head:
            raise CursorInvalid
        return after

    async def _arrival(self, reader: _Reader, beat: float) -> None:
        """Wait for an event, until the next heartbeat is due."""
        # Not `wait_for`, which loses a cancellation that meets its own end (python/cpython#86296).
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(beat):
                await reader.arrived.wait()

    def _hear(self, events: Sequence[Event]) -> None:
        # The tail calls on its own thread; readers belong to the loop. A loop that has closed hears no more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell, events)

    def _tell(self, events: Sequence[Event]) -> None:
        if self._position and events[0].position != self._position + 1:
            # The tail had to skip some: the log has them, or says that they are gone.
            for reader in self._all_readers():
                reader.lose()
        for event in events:
            if event.workspace_id is not None:
                for reader in self._readers.get(event.workspace_id, ()):
                    reader.hear(event)
        self._position = events[-1].position

    def _all_readers(self) -> list[_Reader]:
        return [reader for readers in self._readers.values() for reader in readers]

    def _forget(self, workspace_id: UUID, reader: _Reader) -> None:
        readers = self._readers[workspace_id]
        readers.discard(reader)
        if not readers:
            del self._readers[workspace_id]
