"""The aio adapter of the streams of ingestions, made of the event log itself."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from plinth.documents.v1 import events_pb2, ingestion_service_pb2_grpc
from plinth.documents.v1 import ingestion_service_pb2 as pb
from services.documents.convert import ingestions as convert
from services.documents.model.ingestions import Ingestion
from services.documents.service.ingestions import IngestionService
from services.kernel import sse, sse_stream
from services.kernel.events import Event
from services.kernel.log_stream import LogStreams, Step
from services.kernel.outbox import event_type

_ADVANCED = event_type(events_pb2.IngestionAdvanced.DESCRIPTOR)
# After these somebody may see the document no more.
_VISIBILITY = frozenset(
    event_type(message) for message in (events_pb2.DocumentUpdated.DESCRIPTOR, events_pb2.DocumentDeleted.DESCRIPTOR)
)


class IngestionWatcher(ingestion_service_pb2_grpc.IngestionServiceServicer):
    """IngestionService's streams, which end with the ingestion; its other methods live on the threaded server."""

    def __init__(self, service: IngestionService, log: LogStreams) -> None:
        self._service = service
        self._log = log

    async def WatchIngestion(
        self, request: pb.WatchIngestionRequest, context: Any
    ) -> AsyncIterator[pb.WatchIngestionResponse]:
        async with aclosing(self._follow(*convert.ingestion_in(request.name), request.cursor)) as steps:
            async for step in steps:
                for event in step.events:
                    yield pb.WatchIngestionResponse(ingestion=convert.told(event), cursor=str(event.position))
                if not step.events:
                    yield pb.WatchIngestionResponse(cursor=step.cursor)

    async def WatchIngestionSse(self, request: pb.WatchIngestionSseRequest, context: Any) -> AsyncIterator[HttpBody]:
        cursor = sse_stream.resume_from(context.invocation_metadata() or (), request.cursor)
        steps = self._follow(*convert.ingestion_in(request.name), cursor)
        async for data in sse_stream.frames(steps, convert.told_as_json):
            yield HttpBody(content_type=sse.CONTENT_TYPE, data=data)

    async def _follow(self, workspace_id: UUID, ingestion_id: UUID, cursor: str) -> AsyncGenerator[Step, None]:
        """The steps of the log with the ingestion's moves, up to its end.

        Without a cursor, and where it has ended already, the first move is to where it stands now. Raises
        ResourceNotFound, also as soon as the caller may see the document no more, and what the log raises.
        """
        found = await self._found(workspace_id, ingestion_id)
        tells_present = not cursor or found.state.ended

        def wanted(event: Event) -> bool:
            return (event.type == _ADVANCED and event.subject == found.name) or (
                event.type in _VISIBILITY and event.subject == found.document_name
            )

        async with aclosing(self._log.follow(workspace_id, "" if tells_present else cursor, wanted)) as steps:
            shown = found.create_time
            if tells_present:
                # What is read now holds all that happened up to here, and perhaps what the next steps tell of.
                here = await anext(steps)
                found = await self._found(workspace_id, ingestion_id)
                yield Step([convert.present(found, int(here.cursor))], here.cursor)
                if found.state.ended:
                    return
                shown = found.update_time
            async for step in steps:
                if any(event.type in _VISIBILITY for event in step.events):
                    await self._found(workspace_id, ingestion_id)
                moves = [event for event in step.events if event.type == _ADVANCED and convert.is_newer(event, shown)]
                if moves or not step.events:
                    yield Step(moves, step.cursor)
                # It may have been begun again since.
                if (
                    any(map(convert.tells_the_end, moves))
                    and (await self._found(workspace_id, ingestion_id)).state.ended
                ):
                    return

    async def _found(self, workspace_id: UUID, ingestion_id: UUID) -> Ingestion:
        """The ingestion. Raises ResourceNotFound."""
        return await asyncio.to_thread(self._service.get, workspace_id, ingestion_id)
