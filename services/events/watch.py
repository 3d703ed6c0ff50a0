"""The aio adapter of events' streams."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from plinth.events.v1 import event_service_pb2, event_service_pb2_grpc
from services.events import convert
from services.events.model.filters import matches
from services.kernel import sse
from services.kernel.log_stream import LogStreams, Step
from services.kernel.sse_stream import frames, resume_from


class EventWatcher(event_service_pb2_grpc.EventServiceServicer):
    """EventService's streams, which end with the log; its other methods live on the threaded server."""

    def __init__(self, log: LogStreams) -> None:
        self._log = log

    async def WatchEvents(
        self, request: event_service_pb2.WatchEventsRequest, context: Any
    ) -> AsyncIterator[event_service_pb2.WatchEventsResponse]:
        workspace_id = convert.workspace_in(request.parent)
        async with aclosing(self._follow(workspace_id, request.cursor, request.types)) as steps:
            async for step in steps:
                for message in convert.step_to_proto(step):
                    yield message

    async def WatchEventsSse(
        self, request: event_service_pb2.WatchEventsSseRequest, context: Any
    ) -> AsyncIterator[HttpBody]:
        workspace_id = convert.workspace_in(request.parent)
        cursor = resume_from(context.invocation_metadata() or (), request.cursor)
        steps = self._follow(workspace_id, cursor, request.types)
        async for data in frames(steps, convert.event_to_json, lambda event: event.type):
            yield HttpBody(content_type=sse.CONTENT_TYPE, data=data)

    def _follow(self, workspace_id: UUID, cursor: str, types: Iterable[str]) -> AsyncGenerator[Step, None]:
        """The steps of the log with the events for people of these types, of which some may stand for groups."""
        wanted = tuple(types)
        return self._log.follow(
            workspace_id, cursor, lambda event: not event.restricted and matches(wanted, event.type)
        )
