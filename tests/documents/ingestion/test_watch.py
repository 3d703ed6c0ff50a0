"""An ingestion as a stream: where it stands, each time it has moved, and the end; to gRPC and to browsers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import orjson
import pytest

from plinth.documents.v1 import ingestion_pb2
from plinth.documents.v1 import ingestion_service_pb2 as pb
from services.documents import watch as watching
from services.documents.service import DocumentsServices, tenure
from services.documents.watch import IngestionWatcher
from services.kernel.caller import Caller, Grant, set_caller
from services.kernel.errors import ResourceNotFound, ShuttingDown
from services.kernel.feed import ACCESS, GrantChanged, Invalidation, InvalidationHub, Listener, ResourceChanged, Topic
from services.kernel.ids import new_id
from services.kernel.unit_of_work import UnitOfWork
from services.runtime import Runtime
from services.search.service.publishing import Publishing
from tests.documents.ingestion.workspace import IngestionWorkspace, State, long_file, resume, stopped_parser
from tests.documents.shelf import text
from tests.support.acting import acting
from tests.support.waiting import PATIENCE_SECONDS, until

pytestmark = [pytest.mark.xdist_group("ingestion"), pytest.mark.usefixtures("worker")]

T = TypeVar("T")
Story = Callable[[IngestionWatcher, asyncio.Event], Awaitable[T]]


def caller_of(works: IngestionWorkspace, role: str = "owner") -> Caller:
    """The owner of the workspace; with another role, somebody else in it."""
    user_id = works.shelf.owner.user_id if role == "owner" else works.shelf.team.member.user_id
    workspace_id = works.shelf.workspace_id
    grant = Grant(workspace_id, user_id, role, frozenset())
    return Caller(user_id=user_id, workspace_id=workspace_id, grant=grant)


@pytest.fixture
def watch(works: IngestionWorkspace, services: DocumentsServices, runtime: Runtime) -> Callable[..., Any]:
    """Runs a story on a loop of its own, for the owner of the workspace; without a heartbeat, the feed tells it all."""

    def run(story: Story[T], role: str = "owner", heartbeat: timedelta = timedelta(hours=1)) -> T:
        async def told() -> T:
            stopping = asyncio.Event()
            watcher = IngestionWatcher(services.ingestions, runtime.hub, stopping, heartbeat)
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await story(watcher, stopping)

        with acting(caller_of(works, role)):
            return asyncio.run(told())

    return run


async def moves(watcher: IngestionWatcher, name: str) -> AsyncIterator[ingestion_pb2.Ingestion]:
    """What a stream tells, but for heartbeats."""
    async with aclosing(watcher.WatchIngestion(pb.WatchIngestionRequest(name=name), None)) as stream:  # type: ignore[type-var]  # an async generator, which its annotation does not say
        async for message in stream:
            if message.HasField("ingestion"):
                yield message.ingestion


def states(told: list[ingestion_pb2.Ingestion]) -> list[str]:
    """Where it stood, without repeats."""
    names = [State.Name(one.state).removeprefix("INGESTION_STATE_") for one in told]
    return [name for before, name in zip(["", *names], names, strict=False) if name != before]


def test_tells_where_it_stands_how_far_it_gets_and_ends_with_it(
    works: IngestionWorkspace, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenure, "_TELL_SECONDS", 0.0)
    document = works.shelf.create(long_file(pages=600))
    with stopped_parser() as pid:
        until(lambda: works.get(document.ingestion).state == State.INGESTION_STATE_SCANNED, "the scan")

        async def story(watcher: IngestionWatcher, _: asyncio.Event) -> list[ingestion_pb2.Ingestion]:
            told: list[ingestion_pb2.Ingestion] = []
            async for one in moves(watcher, document.ingestion):
                if not told:
                    resume(pid)
                told.append(one)
            return told

        told = watch(story)
    found = states(told)
    # What follows one another faster than it can be read is told as what it came to.
    assert (found[0], found[-1]) == ("SCANNED", "INDEXED")
    assert found == [name for name in ("SCANNED", "PARSED", "CHUNKED", "EMBEDDED", "INDEXED") if name in found]
    pages = [one.progress_done for one in told if one.state == State.INGESTION_STATE_SCANNED]
    assert any(pages)
    assert pages == sorted(pages)
    # How far it was is told to those who watch, and is nothing that happened.
    assert works.shelf.told() == ["document.created"]

    async def late(watcher: IngestionWatcher, _: asyncio.Event) -> list[ingestion_pb2.Ingestion]:
        return [one async for one in moves(watcher, document.ingestion)]

    [end] = watch(late)
    assert end == works.get(document.ingestion)


def test_tells_how_many_passages_are_staged(
    works: IngestionWorkspace, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenure, "_TELL_SECONDS", 0.0)
    monkeypatch.setattr(tenure, "_LOOK_SECONDS", 0.0)
    heard: set[tuple[int, int]] = set()
    stage, awaited = Publishing.stage, iter([(0, 250), (200, 250)])

    # What follows faster than it can be read is not told: each batch waits until somebody knows how far it is.
    def stage_when_heard(*args: Any) -> None:
        progress = next(awaited)
        until(lambda: progress in heard, f"somebody to hear of {progress}")
        stage(*args)

    monkeypatch.setattr(Publishing, "stage", stage_when_heard)
    document = works.shelf.create("\n\n".join(f"# {n}\n\nWords of {n}." for n in range(250)).encode(), name="long.md")

    async def story(watcher: IngestionWatcher, _: asyncio.Event) -> None:
        async for one in moves(watcher, document.ingestion):
            if one.state == State.INGESTION_STATE_PARSED:
                heard.add((one.progress_done, one.progress_total))

    watch(story)
    assert works.get(document.ingestion).state == State.INGESTION_STATE_INDEXED
    assert {(0, 250), (200, 250)} <= heard


def test_a_browser_hears_the_same(works: IngestionWorkspace, watch: Any) -> None:
    document = works.shelf.create(text())
    works.ended(document)

    async def story(watcher: IngestionWatcher, _: asyncio.Event) -> bytes:
        stream = watcher.WatchIngestionSse(pb.WatchIngestionSseRequest(name=document.ingestion), None)
        return b"".join([body.data async for body in stream])

    frames = watch(story).decode().split("\n\n")
    [data] = [line for frame in frames for line in frame.splitlines() if line.startswith("data: ")]
    told = orjson.loads(data.removeprefix("data: "))
    assert (told["name"], told["state"]) == (document.ingestion, "INGESTION_STATE_INDEXED")


def test_ends_when_the_document_is_deleted(works: IngestionWorkspace, watch: Any) -> None:
    document = works.shelf.create(long_file())
    with stopped_parser():

        async def story(watcher: IngestionWatcher, _: asyncio.Event) -> None:
            stream = moves(watcher, document.ingestion)
            await anext(stream)
            await asyncio.to_thread(works.shelf.delete, document)
            with pytest.raises(ResourceNotFound):
                await anext(stream)

        watch(story)


def test_ends_when_the_document_is_hidden_from_whoever_watches(works: IngestionWorkspace, watch: Any) -> None:
    document = works.shelf.create(long_file())
    with stopped_parser():

        async def story(watcher: IngestionWatcher, _: asyncio.Event) -> None:
            stream = moves(watcher, document.ingestion)
            await anext(stream)
            document.visibility.CopyFrom(works.shelf.visible(works.shelf.owner))
            await asyncio.to_thread(works.shelf.update, document, "visibility")
            with pytest.raises(ResourceNotFound):
                await anext(stream)

        watch(story, "member")


def test_ends_when_whoever_watches_has_lost_the_role_that_showed_it(
    works: IngestionWorkspace, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_SILENCE_SECONDS", 0.01)
    document, team = works.shelf.create(long_file(), visibility=works.shelf.visible("admin")), works.shelf.team
    with stopped_parser():

        async def story(watcher: IngestionWatcher, _: asyncio.Event) -> None:
            stream = moves(watcher, document.ingestion)
            caller = caller_of(works, "admin")
            set_caller(caller)
            await anext(stream)
            assert caller.grant is not None
            # As the chain has it for the next message, when it has judged the stream anew.
            set_caller(replace(caller, grant=replace(caller.grant, role="member")))
            await asyncio.to_thread(team.set_role, works.shelf.owner, team.member, "viewer")
            with pytest.raises(ResourceNotFound):
                await anext(stream)

        watch(story, "admin")


class CountingHub(InvalidationHub):
    """Heard just now and for long, with a count of what each that listens was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []
        self.expect("test")
        self.beat("test", time.monotonic() + 1000)

    def subscribe(self, listener: Listener, topics: Collection[Topic] = ACCESS) -> Callable[[], None]:
        number = len(self.told)
        self.told.append(0)

        def count(invalidation: Invalidation | None) -> None:
            self.told[number] += 1
            listener(invalidation)

        return super().subscribe(count, topics)


def test_what_happens_to_others_costs_a_stream_nothing(works: IngestionWorkspace, services: DocumentsServices) -> None:
    mine, other = works.shelf.create(text(), name="mine.txt").ingestion, works.shelf.create(text()).ingestion
    hub = CountingHub()

    async def told() -> None:
        watcher = IngestionWatcher(services.ingestions, hub, asyncio.Event(), timedelta(hours=1))
        streams = [moves(watcher, name) for name in (mine, other, other)]
        for stream in streams:
            await anext(stream)
        hub.publish(ResourceChanged(UUID(mine.rpartition("/")[2])))
        assert hub.told == [1, 0, 0]
        hub.publish(GrantChanged(new_id()))
        hub.publish(ResourceChanged(new_id()))
        assert hub.told == [1, 0, 0]
        hub.publish(GrantChanged(works.shelf.workspace_id))
        assert hub.told == [2, 1, 1]

    with acting(caller_of(works)):
        asyncio.run(told())


def test_sees_by_itself_what_it_was_not_told(
    works: IngestionWorkspace, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = works.shelf.create(long_file())
    with stopped_parser():

        async def story(watcher: IngestionWatcher, _: asyncio.Event) -> None:
            stream = moves(watcher, document.ingestion)
            await anext(stream)
            monkeypatch.setattr(UnitOfWork, "announce", lambda *_: None)
            document.visibility.CopyFrom(works.shelf.visible(works.shelf.owner))
            await asyncio.to_thread(works.shelf.update, document, "visibility")
            with pytest.raises(ResourceNotFound):
                await anext(stream)

        watch(story, "member", heartbeat=timedelta(milliseconds=50))


def test_says_that_the_process_stops(works: IngestionWorkspace, watch: Any) -> None:
    document = works.shelf.create(long_file())
    with stopped_parser():

        async def story(watcher: IngestionWatcher, stopping: asyncio.Event) -> None:
            stream = moves(watcher, document.ingestion)
            await anext(stream)
            stopping.set()
            with pytest.raises(ShuttingDown):
                await anext(stream)

        watch(story)
