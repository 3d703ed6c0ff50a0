"""How documents is put together and served."""

import asyncio
from typing import Any, ClassVar

from plinth.documents.v1 import document_service_pb2_grpc, ingestion_service_pb2_grpc
from plinth.search.v1 import index_service_pb2_grpc
from services.documents import servicer as documents
from services.documents import subscribers as documents_subscribers
from services.documents import watch as documents_watch
from services.documents.blobs.build import store_of
from services.documents.service import (
    DocumentsGauges,
    Slots,
    StageReport,
    build_documents,
    build_ingester,
    build_resealing,
)
from services.domains.domain import Surroundings, Work
from services.kernel.log_stream import LogStreams


class Documents:
    """Files with their versions, uploads in parts, and who may see them."""

    package: ClassVar[str] = "plinth.documents.v1"
    services: ClassVar[tuple[str, ...]] = ("DocumentService", "IngestionService")

    def __init__(self, around: Surroundings) -> None:
        runtime = around.runtime
        self._store = store_of(runtime.settings, runtime.keyring)
        self._services = build_documents(runtime.resources, runtime.settings, runtime.pager, self._store)
        clock = runtime.resources.clock
        self._resealing = build_resealing(self._services, clock, runtime.keyring, self._store)
        self._settings = runtime.settings
        self._hub = runtime.hub
        slots = Slots(runtime.settings.ingest_parsers)
        self._stages = StageReport(slots.state, runtime.provider.get_tracer("plinth"))
        self._gauges = DocumentsGauges(self._services.units, clock)
        self._ingester = build_ingester(
            self._services,
            clock,
            runtime.settings,
            index_service_pb2_grpc.IndexServiceStub(around.channel("search")),
            slots,
            self._stages,
        )

    def check(self) -> None:
        """Whether the blob store can be written, read and deleted from. Raises DependencyUnavailable."""
        self._services.storage.check()

    def register(self, server: Any) -> None:
        """Add its unary methods."""
        built = self._services
        document_service_pb2_grpc.add_DocumentServiceServicer_to_server(
            documents.DocumentServicer(built.documents, built.uploads), server
        )
        ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(
            documents.IngestionServicer(built.ingestions), server
        )

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Add its `Watch…` methods: those of the feed end when `stopping` is set, those of the log with the log."""
        watcher = documents_watch.IngestionWatcher(self._services.ingestions, self._hub, stopping)
        ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(watcher, server)

    def work(self) -> Work:
        """What a worker does for it."""
        return Work(
            documents_subscribers.subscriptions(self._services),
            documents_subscribers.job_handlers(self._services, self._ingester, self._resealing, self._settings),
            [self._stages, self._gauges],
        )

    def sweep(self) -> None:
        """Bring to the workers what no job will move, and have them delete what is no longer kept.

        And follow the master key: both may take long, and are jobs, as no other domain's sweep is to wait for them.
        """
        self._services.ingestions.revive()
        self._services.housekeeping.ask()
        self._resealing.ask()
