"""The log as Watch streams read it: from a cursor to the present without a gap, over a log that the test appends to."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import pytest

from services.kernel import log_stream
from services.kernel.errors import CursorExpired, CursorInvalid, DependencyUnavailable, ShuttingDown
from services.kernel.event_log import LogTail
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.log_stream import LogStreams, Step, position_of
from tests.support.waiting import until

T = TypeVar("T")
OURS, THEIRS = new_id(), new_id()
SECONDS = 10.0
NEVER = timedelta(days=1)


class Log:
    """An event log in memory; `hold` lets a read wait before it looks."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.dropped = 0
        self.reads: list[int] = []
        self.hold: Callable[[], object] = lambda: None
        self._changed = threading.Condition()

    def append(self, workspace_id: UUID | None = OURS, type: str = "thing.done", count: int = 1) -> Event:
        with self._changed:
            for _ in range(count):
                self.events.append(_event(len(self.events) + 1, workspace_id, type))
            self._changed.notify_all()
            return self.events[-1]

    def read(self, after: int, limit: int, *, workspace_id: UUID | None = None) -> list[Event]:
        if workspace_id is not None:
            self.hold()
            self.reads.append(after)
        if after < self.dropped:
            raise CursorExpired
        return [event for event in self.events[after:] if workspace_id in (None, event.workspace_id)][:limit]

    def head(self) -> int:
        return len(self.events)

    def oldest(self) -> int:
        return self.dropped + 1 if self.dropped else 0

    def wait(self, after: int, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.events) > after, timeout)


_EVENT = Event(0, new_id(), OURS, "", "//plinth/test", "things/1", datetime.now(UTC), "", b"", "users/1", "")


def _event(position: int, workspace_id: UUID | None, type: str) -> Event:
    return replace(_EVENT, position=position, workspace_id=workspace_id, type=type)


class Watching:
    """Streams over one log, and the tail that feeds them."""

    def __init__(self, log: Log, tail: LogTail, streams: LogStreams) -> None:
        self.log = log
        self.tail = tail
        self.streams = streams

    def follow(self, cursor: str = "", types: Sequence[str] = (), workspace: UUID = OURS) -> "Stream":
        return Stream(self.streams.follow(workspace, cursor, lambda event: not types or event.type in types))

    async def told(self) -> None:
        """Until the streams have been told of all that is in the log."""
        await asyncio.to_thread(until, lambda: self.streams._position >= self.log.head(), "the streams are told")


class Stream:
    """One stream, as its handler walks it."""

    def __init__(self, steps: AsyncGenerator[Step, None]) -> None:
        self.steps = steps
        self.cursor = ""

    async def next(self) -> Step:
        async with asyncio.timeout(SECONDS):
            step = await anext(self.steps)
        self.cursor = step.cursor
        return step

    async def positions(self, count: int) -> list[int]:
        """The positions of the next so many events."""
        found: list[int] = []
        while len(found) < count:
            found += [event.position for event in (await self.next()).events]
        return found

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.steps.aclose()


def watching(test: Callable[[Watching], Awaitable[T]], *, heartbeat: timedelta = NEVER, head: int = 0) -> T:
    """Run the test on a loop, over a log of so many events and a tail that has found its head."""

    async def run() -> T:
        log = Log()
        if head:
            log.append(count=head)
        tail = LogTail(log)
        streams = LogStreams(log, tail, heartbeat)
        tail.start()
        try:
            await asyncio.to_thread(until, lambda: tail.position is not None, "the tail has looked")
            return await test(Watching(log, tail, streams))
        finally:
            await asyncio.to_thread(tail.stop)

    return asyncio.run(run())


@contextmanager
def small(monkeypatch: pytest.MonkeyPatch, *, page: int, waiting: int) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(log_stream, "_PAGE", page)
        patch.setattr(log_stream, "_MAX_WAITING", waiting)
        yield


class TestBeginning:
    def test_without_a_cursor_it_begins_now_and_says_so_at_once(self) -> None:
        async def test(here: Watching) -> None:
            async with here.follow() as stream:
                assert await stream.next() == Step([], "3")
                here.log.append()
                assert await stream.positions(1) == [4]

        watching(test, head=3)

    def test_with_a_cursor_it_goes_on_behind_it(self) -> None:
        async def test(here: Watching) -> None:
            async with here.follow("1") as stream:
                step = await stream.next()
                assert ([event.position for event in step.events], step.cursor) == ([2, 3], "3")

        watching(test, head=3)

    def test_with_nothing_missed_it_says_so_at_once(self) -> None:
        async def test(here: Watching) -> None:
            async with here.follow("3") as stream:
                assert await stream.next() == Step([], "3")

        watching(test, head=3)

    def test_a_cursor_past_retention_is_refused(self) -> None:
        async def test(here: Watching) -> None:
            here.log.dropped = 2
            with pytest.raises(CursorExpired):
                await here.follow("1").next()
            assert [event.position for event in (await here.follow("2").next()).events] == [3]

        watching(test, head=3)

    @pytest.mark.parametrize("cursor", ["4", "x", "-1", "01", " 1", "1\n", "1.0", "٣", "9" * 40])
    def test_a_cursor_that_no_stream_has_given_is_refused(self, cursor: str) -> None:
        async def test(here: Watching) -> None:
            with pytest.raises(CursorInvalid):
                await here.follow(cursor).next()

        watching(test, head=3)

    def test_nobody_begins_before_the_tail_knows_where_it_is(self) -> None:
        async def run() -> None:
            log = Log()
            streams = LogStreams(log, LogTail(log))
            with pytest.raises(DependencyUnavailable):
                await anext(streams.follow(OURS, "", lambda _: True))

        asyncio.run(run())


class TestWithoutGap:
    def test_what_comes_while_the_past_is_read_comes_after_it_and_once(self) -> None:
        async def test(here: Watching) -> None:
            reading, go_on = threading.Event(), threading.Event()

            def hold() -> None:
                reading.set()
                assert go_on.wait(SECONDS)

            here.log.hold = hold
            async with here.follow("0") as stream:
                first = asyncio.create_task(stream.positions(5))
                assert await asyncio.to_thread(reading.wait, SECONDS)
                here.log.append(count=2)
                await here.told()
                go_on.set()
                assert await first == [1, 2, 3, 4, 5]
                here.log.append()
                assert await stream.positions(1) == [6]

        watching(test, head=3)

    def test_a_long_past_is_read_page_by_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def test(here: Watching) -> None:
            async with here.follow("0") as stream:
                assert await stream.positions(7) == [1, 2, 3, 4, 5, 6, 7]
            assert here.log.reads == [0, 3, 6]

        with small(monkeypatch, page=3, waiting=100):
            watching(test, head=7)

    def test_a_client_that_takes_little_reads_the_rest_from_the_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def test(here: Watching) -> None:
            async with here.follow() as stream:
                await stream.next()
                for _ in range(9):
                    here.log.append()
                    await here.told()
                [reader] = here.streams._all_readers()
                assert reader.lost
                assert not reader._waiting
                assert await stream.positions(9) == list(range(4, 13))
                here.log.append()
                assert await stream.positions(1) == [13]

        with small(monkeypatch, page=4, waiting=5):
            watching(test, head=3)

    def test_what_the_tail_had_to_skip_is_read_from_the_log(self) -> None:
        async def test(here: Watching) -> None:
            async with here.follow() as stream:
                await stream.next()
                here.log.append()
                assert await stream.positions(1) == [4]
                # As after a fall behind retention: the tail begins anew, at the head.
                here.log.append()
                here.log.append()
                await here.told()
                here.streams._tell([_event(9, OURS, "thing.done")])
                assert await stream.positions(2) == [5, 6]

        watching(test, head=3)

    def test_each_cursor_leads_on_from_where_it_was_given(self) -> None:
        async def test(here: Watching) -> None:
            here.log.append(THEIRS)
            here.log.append(count=4)
            seen: list[int] = []
            cursor = "0"
            while len(seen) < 7:
                async with here.follow(cursor) as stream:
                    seen += [event.position for event in (await stream.next()).events]
                    cursor = stream.cursor
                here.log.append(THEIRS)
            assert seen == [1, 2, 3, 5, 6, 7, 8]

        watching(test, head=3)


class TestWhatIsTold:
    def test_no_stream_hears_of_another_workspace(self) -> None:
        async def test(here: Watching) -> None:
            async with here.follow("0") as ours, here.follow("0", workspace=THEIRS) as theirs:
                here.log.append(THEIRS)
                here.log.append(None)
                here.log.append(OURS)
                assert await theirs.positions(1) == [1]
                assert await ours.positions(1) == [3]

        watching(test)

    def test_what_is_not_wanted_is_left_out_in_past_and_present(self) -> None:
        async def test(here: Watching) -> None:
            here.log.append(type="thing.begun")
            here.log.append(type="thing.done")
            async with here.follow("0", ["thing.done"]) as stream:
                assert await stream.positions(1) == [2]
                here.log.append(type="thing.begun")
                here.log.append(type="thing.done")
                assert await stream.positions(1) == [4]

        watching(test)

    def test_a_long_past_without_anything_for_it_says_at_once_and_at_heartbeats_how_far_it_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def test(here: Watching) -> None:
            async with here.follow("0", ["thing.undone"]) as stream:
                assert [await stream.next() for _ in range(3)] == [Step([], cursor) for cursor in ("3", "6", "7")]

        with small(monkeypatch, page=3, waiting=100):
            watching(test, heartbeat=timedelta(0), head=7)

    def test_between_heartbeats_nothing_is_said_of_what_is_not_wanted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def test(here: Watching) -> None:
            async with here.follow("0", ["thing.undone"]) as stream:
                assert await stream.next() == Step([], "3")
                wanted = asyncio.create_task(stream.next())
                for _ in range(5):
                    here.log.append()
                    await here.told()
                here.log.append(type="thing.undone")
                assert [event.position for event in (await wanted).events] == [13]

        with small(monkeypatch, page=3, waiting=100):
            watching(test, head=7)

    def test_a_heartbeat_brings_a_cursor_that_passes_over_what_others_did(self) -> None:
        async def test(here: Watching) -> None:
            async with here.follow() as stream:
                assert (await stream.next()).cursor == "3"
                here.log.append(THEIRS, count=5)
                await here.told()
                beats = await stream.next()
                while beats.cursor != "8":
                    assert beats == Step((), "3")
                    beats = await stream.next()
                assert not beats.events

        watching(test, head=3, heartbeat=timedelta(milliseconds=10))


class TestEnd:
    def test_every_stream_ends_so_that_its_client_comes_back(self) -> None:
        async def test(here: Watching) -> None:
            async with here.follow() as waiting, here.follow("0", workspace=THEIRS) as reading:
                await waiting.next()
                await reading.next()
                here.streams.end()
                for stream in (waiting, reading):
                    with pytest.raises(ShuttingDown) as raised:
                        await stream.next()
                    assert raised.value.retry_after is not None
            with pytest.raises(ShuttingDown):
                await here.follow().next()

        watching(test, head=3)

    def test_a_stream_that_is_given_up_leaves_nothing_behind(self) -> None:
        async def test(here: Watching) -> None:
            async with here.follow() as stream:
                await stream.next()
                assert len(here.streams._all_readers()) == 1
            async with aclosing(here.follow("nonsense").steps) as steps:
                with pytest.raises(CursorInvalid):
                    await anext(steps)
            assert here.streams._readers == {}

        watching(test)


def test_a_cursor_is_a_position() -> None:
    assert [position_of(cursor) for cursor in ("0", "1", "120", "9" * 18)] == [0, 1, 120, 10**18 - 1]
