"""The aio adapter of the streams of ingestions: each is read anew whenever the feed says that it has changed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from plinth.documents.v1 import ingestion_service_pb2 as pb
from plinth.documents.v1 import ingestion_service_pb2_grpc
from services.documents.convert import ingestions as convert
from services.documents.model.ingestions import Ingestion
from services.documents.service.ingestions import IngestionService
from services.kernel import sse, sse_stream
from services.kernel.errors import ShuttingDown
from services.kernel.feed import MAX_SILENCE_SECONDS, Feed, GrantChanged, ResourceChanged
from services.kernel.feed_stream import follow

# Of thousands of streams most have nothing to tell.
_LOOK_SECONDS = MAX_SILENCE_SECONDS / 2


class IngestionWatcher(ingestion_service_pb2_grpc.IngestionServiceServicer):
    """IngestionService's streams, which end with the ingestion; its other methods live on the threaded server."""

    def __init__(
        self, service: IngestionService, feed: Feed, stopping: asyncio.Event, heartbeat: timedelta = sse.HEARTBEAT
    ) -> None:
        self._service = service
        self._feed = feed
        self._stopping = stopping
        self._heartbeat = heartbeat.total_seconds()

    async def WatchIngestion(
        self, request: pb.WatchIngestionRequest, context: Any
    ) -> AsyncIterator[pb.WatchIngestionResponse]:
        async with aclosing(self._follow(*convert.ingestion_in(request.name))) as steps:
            async for step in steps:
                told = convert.ingestion_to_proto(step) if step is not None else None
                yield pb.WatchIngestionResponse(ingestion=told)

    async def WatchIngestionSse(self, request: pb.WatchIngestionSseRequest, context: Any) -> AsyncIterator[HttpBody]:
        beginning = sse.retry(sse_stream.RETRY)
        async with aclosing(self._follow(*convert.ingestion_in(request.name))) as steps:
            async for step in steps:
                told = sse.comment() if step is None else sse.frame(_as_json(step))
                yield HttpBody(content_type=sse.CONTENT_TYPE, data=beginning + told)
                beginning = b""

    async def _follow(self, workspace_id: UUID, ingestion_id: UUID) -> AsyncGenerator[Ingestion | None, None]:
        """Where it stands, and again whenever it has moved, up to its end; None: a heartbeat.

        Raises ResourceNotFound, also when the caller may see the document no more; DependencyUnavailable, ShuttingDown.
        """
        topics: list[tuple[type[ResourceChanged | GrantChanged], UUID]]
        topics = [(ResourceChanged, ingestion_id), (GrantChanged, workspace_id)]
        loop = asyncio.get_running_loop()
        shown, beat = None, loop.time() + self._heartbeat
        async with aclosing(follow(self._feed, topics, self._stopping, every=_LOOK_SECONDS)) as steps:
            async for step in steps:
                is_due = loop.time() >= beat
                if is_due:
                    # What is read behind a message is read by the grant that the caller had when it was taken.
                    yield None
                    beat = loop.time() + self._heartbeat
                if step and any(isinstance(one, GrantChanged) for one in step):
                    # By then the chain has judged the stream anew.
                    beat = min(beat, loop.time() + MAX_SILENCE_SECONDS)
                if is_due or step is None or step:
                    found = await asyncio.to_thread(self._service.get, workspace_id, ingestion_id)
                    if shown is None or found.update_time > shown:
                        shown = found.update_time
                        yield found
                    if found.state.ended:
                        return
        raise ShuttingDown


def _as_json(ingestion: Ingestion) -> str:
    return sse_stream.as_json(convert.ingestion_to_proto(ingestion))
