"""The gRPC adapter of ingestions: convert, call, convert. Its streams are in `watch.py`."""

from typing import Any

from plinth.documents.v1 import ingestion_service_pb2 as pb
from plinth.documents.v1 import ingestion_service_pb2_grpc
from services.documents.convert import ingestions as convert
from services.documents.convert.documents import workspace_in
from services.documents.service.ingestions import IngestionService
from services.kernel.wire import optional_time

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class IngestionServicer(ingestion_service_pb2_grpc.IngestionServiceServicer):
    """IngestionService, but for its streams."""

    def __init__(self, service: IngestionService) -> None:
        self._service = service

    def GetIngestion(self, request: pb.GetIngestionRequest, context: Context) -> pb.GetIngestionResponse:
        found = self._service.get(*convert.ingestion_in(request.name))
        return pb.GetIngestionResponse(ingestion=convert.ingestion_to_proto(found))

    def ListIngestions(self, request: pb.ListIngestionsRequest, context: Context) -> pb.ListIngestionsResponse:
        found, next_token = self._service.list_ingestions(
            workspace_in(request.parent), request.page_size, request.page_token, request.filter
        )
        return pb.ListIngestionsResponse(ingestions=map(convert.ingestion_to_proto, found), next_page_token=next_token)

    def RetryIngestion(self, request: pb.RetryIngestionRequest, context: Context) -> pb.RetryIngestionResponse:
        ingestion = self._service.retry(*convert.ingestion_in(request.name))
        return pb.RetryIngestionResponse(ingestion=convert.ingestion_to_proto(ingestion))

    def RetryDeadIngestions(
        self, request: pb.RetryDeadIngestionsRequest, context: Context
    ) -> pb.RetryDeadIngestionsResponse:
        count, more = self._service.retry_dead(
            workspace_in(request.parent), optional_time(request, "since"), convert.reasons_in(request.reasons)
        )
        return pb.RetryDeadIngestionsResponse(count=count, more=more)

    def CancelIngestion(self, request: pb.CancelIngestionRequest, context: Context) -> pb.CancelIngestionResponse:
        ingestion = self._service.cancel(*convert.ingestion_in(request.name))
        return pb.CancelIngestionResponse(ingestion=convert.ingestion_to_proto(ingestion))
