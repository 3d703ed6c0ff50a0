"""The aio adapter of identity's streams."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from plinth.identity.v1 import session_service_pb2, session_service_pb2_grpc
from services.identity import convert
from services.kernel.feed import ApiKeyRevoked, Feed, SessionRevoked, UserSessionsRevoked
from services.kernel.feed_stream import follow

Revocation = SessionRevoked | UserSessionsRevoked | ApiKeyRevoked
REVOCATIONS: tuple[type[Revocation], ...] = (SessionRevoked, UserSessionsRevoked, ApiKeyRevoked)


class SessionWatcher(session_service_pb2_grpc.SessionServiceServicer):
    """SessionService's streams, until `stopping` is set; its other methods live on the threaded server."""

    def __init__(self, feed: Feed, stopping: asyncio.Event) -> None:
        self._feed = feed
        self._stopping = stopping

    async def WatchRevocations(
        self, request: session_service_pb2.WatchRevocationsRequest, context: Any
    ) -> AsyncIterator[session_service_pb2.WatchRevocationsResponse]:
        async for revocations in follow(self._feed, REVOCATIONS, self._stopping):
            yield convert.revocations_to_proto(revocations)
