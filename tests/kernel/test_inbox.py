"""From a cursor to the head without a gap, however the past, the present and the reader interleave."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.event_log import Listener, LogTail
from services.kernel.events import Event
from services.kernel.inbox import Inbox

WANTED, OTHER = "wanted", "other"
ROOM, PAGE = 4, 3


class Log:
    """A log in memory, and its tail, that tells of as much as the test says."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.position: int | None = None
        self._listener: Listener | None = None

    def append(self, kind: str) -> None:
        position = len(self.events) + 1
        time = datetime(2026, 3, 1, tzinfo=UTC)
        self.events.append(Event(position, UUID(int=position), None, kind, "", "", time, "", b"", "", ""))

    def read(self, after: int, limit: int, *, workspace_id: UUID | None = None) -> list[Event]:
        assert workspace_id is None
        return self.events[after : after + limit]

    def head(self) -> int:
        return len(self.events)

    def oldest(self) -> int:
        return 0

    def wait(self, after: int, timeout: float) -> bool:
        return len(self.events) > after

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        self._listener = listener
        return lambda: setattr(self, "_listener", None)

    def tell(self, count: int) -> None:
        """The tail hands out the next events; at first it only looks where the head is."""
        if self.position is None:
            self.position = len(self.events)
            return
        batch = self.events[self.position : self.position + count]
        if batch:
            self.position = batch[-1].position
            if self._listener is not None:
                self._listener(batch)

    def skip(self) -> None:
        """The tail was cut for so long that it begins anew at the head."""
        self.position = len(self.events)


class Taker:
    """A reader at its cursor."""

    def __init__(self, log: Log, cursor: int) -> None:
        tail: LogTail = log  # type: ignore[assignment]  # all that an inbox needs of one
        self._inbox = Inbox(log, tail, frozenset({WANTED}), room=ROOM)
        self.cursor = cursor
        self.taken: list[int] = []

    def take(self) -> None:
        passage = self._inbox.take(self.cursor, PAGE, 0)
        assert passage.upto >= self.cursor
        self.taken += [event.position for event in passage.events]
        self.cursor = passage.upto


_APPEND = st.tuples(st.just("append"), st.sampled_from([WANTED, OTHER]))
_TELL = st.tuples(st.just("tell"), st.integers(1, 6))
_STEPS = st.lists(_APPEND | _APPEND | _TELL | st.sampled_from([("take", 0), ("skip", 0)]), max_size=60)


class TestInbox:
    @given(st.integers(0, 6), st.integers(0, 6), _STEPS)
    def test_every_wanted_event_after_the_cursor_comes_once_and_in_order(
        self, past: int, cursor: int, steps: list[tuple[str, int | str]]
    ) -> None:
        log = Log()
        for n in range(past):
            log.append((WANTED, OTHER)[n % 2])
        taker = Taker(log, min(cursor, past))
        first = taker.cursor
        for step, argument in steps:
            match step, argument:
                case "append", str(kind):
                    log.append(kind)
                case "tell", int(count):
                    log.tell(count)
                case "skip", _ if log.position is not None:
                    log.skip()
                case "take", _:
                    taker.take()
        # A last event, so that even a tail that has skipped tells something, and time to take it all.
        log.tell(1)
        log.append(WANTED)
        while log.position is None or log.position < log.head():
            log.tell(100)
        for _ in range(2 * log.head() + 2):
            taker.take()
        assert taker.taken == [e.position for e in log.events if e.position > first and e.type == WANTED]
        assert taker.cursor == log.head()

    @pytest.mark.parametrize("count", [ROOM, ROOM + 1, 3 * ROOM])
    def test_who_falls_behind_reads_the_log_again(self, count: int) -> None:
        log = Log()
        taker = Taker(log, 0)
        log.tell(0)
        for _ in range(count):
            log.append(WANTED)
        log.tell(count)
        assert len(taker._inbox._kept) <= ROOM
        for _ in range(count):
            taker.take()
        assert taker.taken == list(range(1, count + 1))
