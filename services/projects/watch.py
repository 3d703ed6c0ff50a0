"""The aio adapter of the streams of activity, made of the event log itself: no projection stands in between."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from plinth.projects.v1 import activity_service_pb2 as pb
from plinth.projects.v1 import activity_service_pb2_grpc
from services.kernel import sse, sse_stream
from services.kernel.log_stream import LogStreams, Step
from services.projects.convert import activity as convert
from services.projects.service.activity import ActivityService


class ActivityWatcher(activity_service_pb2_grpc.ActivityServiceServicer):
    """ActivityService's streams, which end with the log; its other methods live on the threaded server."""

    def __init__(self, service: ActivityService, log: LogStreams) -> None:
        self._service = service
        self._log = log

    async def WatchActivity(
        self, request: pb.WatchActivityRequest, context: Any
    ) -> AsyncIterator[pb.WatchActivityResponse]:
        workspace_id, project_id = convert.parent_in(request.parent)
        async with aclosing(self._follow(workspace_id, project_id, request.cursor)) as steps:
            async for step in steps:
                for event in step.events:
                    activity = convert.shown(event)
                    yield convert.watch_response(activity.cursor, activity)
                if not step.events:
                    yield convert.watch_response(step.cursor)

    async def WatchActivitySse(self, request: pb.WatchActivitySseRequest, context: Any) -> AsyncIterator[HttpBody]:
        workspace_id, project_id = convert.parent_in(request.parent)
        cursor = sse_stream.resume_from(context.invocation_metadata() or (), request.cursor)
        steps = self._follow(workspace_id, project_id, cursor)
        async for data in sse_stream.frames(steps, convert.shown_as_json):
            yield HttpBody(content_type=sse.CONTENT_TYPE, data=data)

    async def _follow(self, workspace_id: UUID, project_id: UUID | None, cursor: str) -> AsyncGenerator[Step, None]:
        """The steps of the log with what was done there. Raises ResourceNotFound, and what the log raises."""
        if project_id is not None:
            await asyncio.to_thread(self._service.require_there, workspace_id, project_id)
        wanted = partial(convert.is_activity, project_id=project_id)
        async with aclosing(self._log.follow(workspace_id, cursor, wanted)) as steps:
            async for step in steps:
                yield step
