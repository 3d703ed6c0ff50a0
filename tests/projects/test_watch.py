"""Activity as a stream: from a cursor to the present without a gap, to gRPC and to browsers."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import orjson
import pytest
from google.api.httpbody_pb2 import HttpBody

from plinth.projects.v1 import activity_service_pb2 as pb
from services.kernel.caller import Caller
from services.kernel.errors import CursorExpired, CursorInvalid, PlinthError, ResourceNotFound, ShuttingDown
from services.kernel.event_log import LogTail, PostgresEventLog
from services.kernel.events import Event
from services.kernel.log_stream import LogStreams
from services.kernel.sse import CONTENT_TYPE, LAST_EVENT_ID
from services.projects.service import ProjectsServices
from services.projects.watch import ActivityWatcher
from services.runtime import Runtime
from tests.projects.board import Board
from tests.support.acting import acting
from tests.support.waiting import until

T = TypeVar("T")
SECONDS = 20.0


class Context:
    """What a stream asks of its call."""

    def __init__(self, **metadata: str) -> None:
        self._metadata = tuple((name.replace("_", "-"), value) for name, value in metadata.items())

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


class ShortLog(PostgresEventLog):
    """A log whose older events are gone."""

    def read(self, after: int, limit: int, **wanted: Any) -> list[Event]:
        raise CursorExpired


@pytest.fixture(scope="module")
def source(runtime: Runtime) -> Iterator[PostgresEventLog]:
    """The log of this run."""
    log = PostgresEventLog(runtime.database, runtime.database.connect)
    yield log
    log.close()


@pytest.fixture(scope="module")
def tail(source: PostgresEventLog) -> Iterator[LogTail]:
    """What follows its head."""
    following = LogTail(source)
    following.start()
    until(lambda: following.position is not None, "a first look")
    yield following
    following.stop()


@pytest.fixture
def watch(
    services: ProjectsServices, source: PostgresEventLog, tail: LogTail, board: Board
) -> Callable[[Callable[[ActivityWatcher, LogStreams], Awaitable[T]]], T]:
    """Runs a test on a loop of its own, with the streams of this workspace."""

    def run(
        story: Callable[[ActivityWatcher, LogStreams], Awaitable[T]], heartbeat: timedelta = timedelta(milliseconds=50)
    ) -> T:
        async def told() -> T:
            streams = LogStreams(source, tail, heartbeat)
            try:
                async with asyncio.timeout(SECONDS):
                    return await story(ActivityWatcher(services.activity, streams), streams)
            finally:
                streams.end()

        with acting(Caller(user_id=board.owner.user_id, workspace_id=board.workspace_id)):
            return asyncio.run(told())

    return run


@asynccontextmanager
async def following(
    watcher: ActivityWatcher, parent: str, cursor: str = ""
) -> AsyncIterator[Callable[[int], Awaitable[list[pb.WatchActivityResponse]]]]:
    """A stream, and how to take its next messages; no heartbeats, but for the first message of a stream from now."""
    stream = watcher.WatchActivity(pb.WatchActivityRequest(parent=parent, cursor=cursor), Context())
    first = [not cursor]

    async def take(count: int) -> list[pb.WatchActivityResponse]:
        taken: list[pb.WatchActivityResponse] = []
        while len(taken) < count:
            message = await anext(stream)
            if first[0] or message.HasField("activity"):
                taken.append(message)
            first[0] = False
        return taken

    async with aclosing(stream):  # type: ignore[type-var]  # an async generator, which its annotation does not say
        yield take


def verbs(messages: list[pb.WatchActivityResponse]) -> list[tuple[str, str]]:
    return [(message.activity.verb, message.activity.resource.split("/")[-2]) for message in messages]


class TestWatchActivity:
    def test_connects_at_once_and_tells_what_is_done_from_then_on(self, board: Board, watch: Any) -> None:
        board.project()
        board.event("project.created")

        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            async with following(watcher, board.workspace) as take:
                [hello] = await take(1)
                assert hello.cursor
                assert not hello.HasField("activity")
                project = await asyncio.to_thread(board.project)
                await asyncio.to_thread(board.move_project, project, "planned", comment="go")
                created, moved = await take(2)
                assert verbs([created, moved]) == [("created", "projects"), ("transitioned", "projects")]
                assert (moved.activity.comment, moved.activity.project) == ("go", project.name)
                assert int(hello.cursor) < int(created.cursor) < int(moved.cursor) == int(moved.activity.cursor)

        watch(story)

    def test_goes_on_behind_a_cursor_and_then_live_without_a_gap(self, board: Board, watch: Any) -> None:
        project = board.project()
        task = board.task(project)
        start = str(board.event("task.created").position)
        for name in ("one", "two", "three"):
            board.task(project, display_name=name)

        async def story(watcher: ActivityWatcher, streams: LogStreams) -> list[str]:
            async with following(watcher, board.workspace, start) as take:
                behind = await take(2)
            async with following(watcher, board.workspace, behind[-1].cursor) as take:
                rest = await take(1)
                for to_state in ("doing", "done", "todo"):
                    await asyncio.to_thread(board.move_task, task, to_state)
                return [
                    change.new_value for one in [*behind, *rest, *await take(3)] for change in one.activity.changes[:1]
                ]

        assert watch(story) == ["one", "two", "three", "doing", "done", "todo"]

    def test_of_one_project_tells_nothing_of_the_others(self, board: Board, watch: Any) -> None:
        project, other = board.project(), board.project()
        start = str(board.event("project.created").position)
        board.task(other)
        task = board.task(project)
        board.move_task(task, "doing")

        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            async with following(watcher, project.name, start) as take:
                messages = await take(2)
            assert verbs(messages) == [("created", "tasks"), ("transitioned", "tasks")]
            assert {one.activity.project for one in messages} == {project.name}

        watch(story)

    def test_tells_nothing_of_another_workspace(self, board: Board, other_board: Board, watch: Any) -> None:
        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            async with following(watcher, board.workspace) as take:
                await take(1)
                await asyncio.to_thread(other_board.project)
                await asyncio.to_thread(other_board.event, "project.created")
                mine = await asyncio.to_thread(board.project)
                # The default workflow comes with the first project.
                told = await take(2)
                assert all(one.activity.resource.startswith(board.workspace) for one in told)
                assert told[-1].activity.resource == mine.name

        watch(story)

    def test_heartbeats_say_how_far_the_stream_is(self, board: Board, watch: Any) -> None:
        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            request = pb.WatchActivityRequest(parent=board.workspace)
            beats = []
            async for message in watcher.WatchActivity(request, Context()):
                assert not message.HasField("activity")
                beats.append(int(message.cursor))
                if len(beats) == 4:
                    break
            assert beats == sorted(beats)

        watch(story)

    @pytest.mark.parametrize(
        ("parent", "cursor", "error"),
        [
            ("{workspace}", "yesterday", CursorInvalid),
            ("{workspace}", str(10**15), CursorInvalid),
            (f"{{workspace}}/projects/{UUID(int=7)}", "", ResourceNotFound),
        ],
    )
    def test_refuses_what_cannot_be_followed(
        self, board: Board, watch: Any, parent: str, cursor: str, error: type[PlinthError]
    ) -> None:
        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            async with following(watcher, parent.format(workspace=board.workspace), cursor) as take:
                with pytest.raises(error):
                    await take(1)

        watch(story)

    def test_a_cursor_past_retention_is_an_error_with_a_reason(
        self, board: Board, watch: Any, services: ProjectsServices, runtime: Runtime, tail: LogTail
    ) -> None:
        async def story(_: ActivityWatcher, streams: LogStreams) -> None:
            log = ShortLog(runtime.database, runtime.database.connect)
            watcher = ActivityWatcher(services.activity, LogStreams(log, tail))
            async with following(watcher, board.workspace, "0") as take:
                with pytest.raises(CursorExpired) as raised:
                    await take(1)
            assert raised.value.reason == "CURSOR_EXPIRED"

        watch(story)

    def test_ends_with_the_process_so_that_clients_resume_elsewhere(self, board: Board, watch: Any) -> None:
        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            async with following(watcher, board.workspace) as take:
                await take(1)
                streams.end()
                with pytest.raises(ShuttingDown):
                    await take(1)

        watch(story)


def fields(body: bytes) -> list[dict[str, str]]:
    """The frames of a piece of a stream, as a browser reads them; a comment is one without a name."""
    frames = body.decode().removesuffix("\n\n").split("\n\n")
    return [
        {name: value for name, _, value in (line.partition(": ") for line in frame.split("\n"))} for frame in frames
    ]


class TestWatchActivitySse:
    async def take(
        self, watcher: ActivityWatcher, request: pb.WatchActivitySseRequest, context: Context, count: int
    ) -> list[dict[str, str]]:
        """The first frames with data, without that which says that it is connected."""
        taken: list[dict[str, str]] = []
        async for body in watcher.WatchActivitySse(request, context):
            assert isinstance(body, HttpBody)
            assert body.content_type == CONTENT_TYPE
            taken += [frame for frame in fields(body.data) if "data" in frame and "event" not in frame]
            if len(taken) >= count:
                break
        return taken

    def test_frames_hold_the_cursor_and_the_activity_as_rest_shows_it(self, board: Board, watch: Any) -> None:
        project = board.project(display_name="Ünïcode 🚀")
        event = board.event("project.created")
        board.move_project(project, "planned", comment="one\ntwo")

        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            request = pb.WatchActivitySseRequest(parent=board.workspace, cursor=str(event.position - 1))
            created, moved = await self.take(watcher, request, Context(), 2)
            shown = orjson.loads(created["data"])
            assert (created["id"], shown["cursor"]) == (str(event.position),) * 2
            assert (shown["verb"], shown["resource"]) == ("created", project.name)
            # Envoy's transcoding leaves out no field that is empty.
            assert shown["comment"] == ""
            assert {change["oldValue"] for change in shown["changes"]} == {""}
            assert orjson.loads(moved["data"])["comment"] == "one\ntwo"
            assert int(moved["id"]) > event.position

        watch(story)

    def test_the_browsers_own_cursor_goes_before_that_of_the_url(self, board: Board, watch: Any) -> None:
        project = board.project()
        old = board.event("project.created").position
        board.move_project(project, "planned")
        new = board.event("project.transitioned").position
        board.move_project(project, "in_progress")

        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            request = pb.WatchActivitySseRequest(parent=project.name, cursor=str(old - 1))
            [frame, *_] = await self.take(watcher, request, Context(**{LAST_EVENT_ID: str(new)}), 1)
            [change] = orjson.loads(frame["data"])["changes"]
            assert change["newValue"] == "in_progress"

        watch(story)

    def test_heartbeats_are_comments(self, board: Board, watch: Any) -> None:
        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            seen: list[dict[str, str]] = []
            async for body in watcher.WatchActivitySse(pb.WatchActivitySseRequest(parent=board.workspace), Context()):
                seen += fields(body.data)
                if any("" in frame or ":" in frame for frame in seen):
                    break
            assert any("retry" in frame for frame in seen)
            assert [frame["event"] for frame in seen if "event" in frame] == ["connected"]

        watch(story)


async def over_grpc(watcher: ActivityWatcher, parent: str, cursor: str) -> AsyncGenerator[int, None]:
    """Where the messages say that the stream is; none of them tells of anything."""
    async for message in watcher.WatchActivity(pb.WatchActivityRequest(parent=parent, cursor=cursor), Context()):
        assert not message.HasField("activity")
        yield int(message.cursor)


async def over_sse(watcher: ActivityWatcher, parent: str, cursor: str) -> AsyncGenerator[int, None]:
    """The same, of the last id that a browser keeps of each piece."""
    request = pb.WatchActivitySseRequest(parent=parent, cursor=cursor)
    async for body in watcher.WatchActivitySse(request, Context()):
        frames = fields(body.data)
        assert all(frame.get("event") == "connected" for frame in frames if "data" in frame)
        yield int([frame["id"] for frame in frames if "id" in frame][-1])


@pytest.mark.parametrize("places", [over_grpc, over_sse])
class TestWhileOtherProjectsAreBusy:
    def test_a_stream_says_at_once_how_far_it_is(self, board: Board, watch: Any, places: Any) -> None:
        project, other = board.project(), board.project()
        start = board.event("project.created").position
        board.task(other)
        last = board.event("task.created").position

        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            async with aclosing(places(watcher, project.name, str(start))) as stream:
                assert await anext(stream) >= last

        watch(story, heartbeat=timedelta(days=1))

    def test_its_heartbeats_go_on_and_take_the_cursor_along(self, board: Board, watch: Any, places: Any) -> None:
        project, other = board.project(), board.project()
        done = threading.Event()

        def work() -> None:
            while not done.is_set():
                board.task(other)

        async def story(watcher: ActivityWatcher, streams: LogStreams) -> None:
            async with aclosing(places(watcher, project.name, "")) as stream:
                beats = [await anext(stream)]
                working = asyncio.create_task(asyncio.to_thread(work))
                try:
                    while beats[-1] < beats[0] + 20:
                        beats.append(await anext(stream))
                finally:
                    done.set()
                    await working
            assert beats == sorted(beats)

        watch(story)
