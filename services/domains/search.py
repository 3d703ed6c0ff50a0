"""How search is put together and served."""

import asyncio
from typing import Any, ClassVar

from plinth.documents.v1 import document_service_pb2_grpc
from plinth.search.v1 import index_service_pb2_grpc, search_service_pb2_grpc
from services.domains.domain import Surroundings, Work
from services.kernel.log_stream import LogStreams
from services.search import servicer as search
from services.search import subscribers as search_subscribers
from services.search.service import build_search, build_searching


class Search:
    """What documents are found by: passages, postings and vectors."""

    package: ClassVar[str] = "plinth.search.v1"
    services: ClassVar[tuple[str, ...]] = ("IndexService", "SearchService")

    def __init__(self, around: Surroundings) -> None:
        runtime = around.runtime
        documents = document_service_pb2_grpc.DocumentServiceStub(around.channel("documents"))
        self._services = build_search(runtime.resources, runtime.settings)
        self._searching = build_searching(self._services, runtime.resources, runtime.pager, documents)

    def check(self) -> None:
        """Nothing here is encrypted."""

    def register(self, server: Any) -> None:
        """Add its unary methods."""
        index_service_pb2_grpc.add_IndexServiceServicer_to_server(search.IndexServicer(self._services), server)
        search_service_pb2_grpc.add_SearchServiceServicer_to_server(search.SearchServicer(self._searching), server)

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Nothing here is watched."""

    def work(self) -> Work:
        """What a worker does for it."""
        return Work(
            search_subscribers.subscriptions(self._services),
            search_subscribers.job_handlers(self._services),
            [self._services.embedded, self._searching.report],
        )

    def sweep(self) -> None:
        """Have a worker delete what is no longer kept, and look after what was left; nothing here is encrypted."""
        self._services.housekeeping.ask()
