"""The aio adapter of tenancy's streams."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from plinth.tenancy.v1 import access_service_pb2, access_service_pb2_grpc
from services.kernel.feed import Feed, GrantChanged
from services.kernel.feed_stream import follow
from services.tenancy import convert


class AccessWatcher(access_service_pb2_grpc.AccessServiceServicer):
    """AccessService's streams, until `stopping` is set; its other methods live on the threaded server."""

    def __init__(self, feed: Feed, stopping: asyncio.Event) -> None:
        self._feed = feed
        self._stopping = stopping

    async def WatchGrants(
        self, request: access_service_pb2.WatchGrantsRequest, context: Any
    ) -> AsyncIterator[access_service_pb2.WatchGrantsResponse]:
        async for changes in follow(self._feed, (GrantChanged,), self._stopping):
            yield convert.changes_to_proto(changes)
