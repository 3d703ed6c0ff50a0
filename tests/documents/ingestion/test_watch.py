"""An ingestion as a stream: where it stands, every move, and the end; to gRPC and to browsers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, TypeVar

import orjson
import pytest

from plinth.documents.v1 import ingestion_service_pb2 as pb
from services.documents.blobs.build import store_of
from services.documents.service import DocumentsServices, build_documents
from services.documents.watch import IngestionWatcher
from services.kernel.caller import Caller, Grant
from services.kernel.errors import ResourceNotFound
from services.kernel.event_log import LogTail, PostgresEventLog
from services.kernel.log_stream import LogStreams
from services.kernel.sse import LAST_EVENT_ID
from services.runtime import Runtime
from tests.documents.ingestion.works import State, Works, long_file, resume, stopped_parser
from tests.documents.shelf import text
from tests.support.acting import acting
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("ingestion"), pytest.mark.usefixtures("worker")]

T = TypeVar("T")
Story = Callable[[IngestionWatcher], Awaitable[T]]


class Context:
    """What a stream asks of its call."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


@pytest.fixture(scope="module")
def tail(runtime: Runtime) -> Iterator[tuple[PostgresEventLog, LogTail]]:
    """The log, and what follows its head."""
    source = PostgresEventLog(runtime.database, runtime.database.connect)
    following = LogTail(source)
    following.start()
    until(lambda: following.position is not None, "a first look")
    yield source, following
    following.stop()
    source.close()


@pytest.fixture(scope="module")
def services(runtime: Runtime) -> DocumentsServices:
    """The use cases, as the streams process has them."""
    return build_documents(
        runtime.resources, runtime.settings, runtime.pager, store_of(runtime.settings, runtime.keyring)
    )


@pytest.fixture
def watch(
    works: Works, services: DocumentsServices, tail: tuple[PostgresEventLog, LogTail]
) -> Callable[[Story[Any]], Any]:
    """Runs a story on a loop of its own, for the owner of the workspace."""
    workspace_id, user_id = works.shelf.workspace_id, works.shelf.owner.user_id
    caller = Caller(
        user_id=user_id, workspace_id=workspace_id, grant=Grant(workspace_id, user_id, "owner", frozenset())
    )

    def run(story: Story[T]) -> T:
        async def told() -> T:
            streams = LogStreams(*tail, timedelta(milliseconds=50))
            try:
                async with asyncio.timeout(60):
                    return await story(IngestionWatcher(services.ingestions, streams))
            finally:
                streams.end()

        with acting(caller):
            return asyncio.run(told())

    return run


async def all_of(watcher: IngestionWatcher, name: str, cursor: str = "") -> list[pb.WatchIngestionResponse]:
    """What a stream tells until its end, but for heartbeats."""
    stream = watcher.WatchIngestion(pb.WatchIngestionRequest(name=name, cursor=cursor), Context())
    return [message async for message in stream if message.HasField("ingestion")]


def states(messages: list[pb.WatchIngestionResponse]) -> list[str]:
    """Where it stood, without repeats: how far a stage is is told as often as time allows."""
    names = [State.Name(message.ingestion.state).removeprefix("INGESTION_STATE_") for message in messages]
    return [name for before, name in zip(["", *names], names, strict=False) if name != before]


def test_tells_every_move_from_where_it_stands_and_ends_with_it(works: Works, watch: Any) -> None:
    document = works.shelf.create(long_file())
    with stopped_parser() as pid:
        until(lambda: works.get(document.ingestion).state == State.INGESTION_STATE_SCANNED, "the scan")

        async def story(watcher: IngestionWatcher) -> list[pb.WatchIngestionResponse]:
            stream = watcher.WatchIngestion(pb.WatchIngestionRequest(name=document.ingestion), Context())
            told = [await anext(stream)]
            resume(pid)
            return told + [message async for message in stream if message.HasField("ingestion")]

        told = watch(story)
    assert states(told) == ["SCANNED", "PARSED", "CHUNKED", "EMBEDDED", "INDEXED"]
    assert all(message.ingestion.name == document.ingestion for message in told)
    positions = [int(message.cursor) for message in told]
    assert positions == sorted(positions)
    # Whoever lost the stream on the way goes on behind what they have; whoever comes late hears how it ended.
    late = watch(lambda watcher: all_of(watcher, document.ingestion))
    assert states(late) == states(watch(lambda watcher: all_of(watcher, document.ingestion, "1"))) == ["INDEXED"]


def test_goes_on_behind_a_cursor(works: Works, watch: Any) -> None:
    document = works.shelf.create(long_file())
    with stopped_parser() as pid:

        async def story(watcher: IngestionWatcher) -> list[pb.WatchIngestionResponse]:
            stream = watcher.WatchIngestion(pb.WatchIngestionRequest(name=document.ingestion), Context())
            async with aclosing(stream):  # type: ignore[type-var]  # an async generator, which its annotation does not say
                first = await anext(stream)
            resume(pid)
            return await all_of(watcher, document.ingestion, first.cursor)

        told = watch(story)
    assert states(told)[-4:] == ["PARSED", "CHUNKED", "EMBEDDED", "INDEXED"]


def test_a_browser_hears_the_same_and_says_where_it_was(works: Works, watch: Any) -> None:
    document = works.shelf.create(text())
    works.ended(document)

    async def story(watcher: IngestionWatcher) -> bytes:
        request = pb.WatchIngestionSseRequest(name=document.ingestion)
        stream = watcher.WatchIngestionSse(request, Context((LAST_EVENT_ID, "1")))
        return b"".join([body.data async for body in stream])

    frames = watch(story).decode().split("\n\n")
    [data] = [line for frame in frames for line in frame.splitlines() if line.startswith("data: {") and len(line) > 20]
    told = orjson.loads(data.removeprefix("data: "))
    assert (told["name"], told["state"]) == (document.ingestion, "INGESTION_STATE_INDEXED")


def test_ends_when_the_document_is_deleted(works: Works, watch: Any) -> None:
    document = works.shelf.create(long_file())
    with stopped_parser():

        async def story(watcher: IngestionWatcher) -> None:
            stream = watcher.WatchIngestion(pb.WatchIngestionRequest(name=document.ingestion), Context())
            await anext(stream)
            await asyncio.to_thread(works.shelf.delete, document)
            with pytest.raises(ResourceNotFound):
                async for _ in stream:
                    pass

        watch(story)
