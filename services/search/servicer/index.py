"""The gRPC adapter of the index: convert, call, convert."""

from typing import Any

from plinth.search.v1 import index_service_pb2 as pb
from plinth.search.v1 import index_service_pb2_grpc
from services.search.convert import index as convert
from services.search.service import SearchServices

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class IndexServicer(index_service_pb2_grpc.IndexServiceServicer):
    """IndexService."""

    def __init__(self, services: SearchServices) -> None:
        self._index = services.index
        self._publishing = services.publishing
        self._vectors = services.vectors

    def GetIndex(self, request: pb.GetIndexRequest, context: Context) -> pb.GetIndexResponse:
        return pb.GetIndexResponse(index=convert.index_to_proto(self._index.get(convert.index_in(request.name))))

    def UpdateIndex(self, request: pb.UpdateIndexRequest, context: Context) -> pb.UpdateIndexResponse:
        wanted = request.index
        workspace_id = convert.index_in(wanted.name, field="index.name")
        patch = convert.index_patch_from_proto(wanted, request.update_mask)
        view = self._index.update(workspace_id, wanted.etag, patch)
        return pb.UpdateIndexResponse(index=convert.index_to_proto(view))

    def RebuildIndex(self, request: pb.RebuildIndexRequest, context: Context) -> pb.RebuildIndexResponse:
        view = self._index.rebuild(convert.index_in(request.name))
        return pb.RebuildIndexResponse(index=convert.index_to_proto(view))

    def StageChunks(self, request: pb.StageChunksRequest, context: Context) -> pb.StageChunksResponse:
        workspace_id = convert.workspace_in(request.parent)
        document_id = convert.document_in(workspace_id, request.document, field="document")
        passages = convert.passages_from_proto(request)
        published = self._publishing.stage(workspace_id, document_id, request.version, passages)
        return pb.StageChunksResponse(published_version=published)

    def EmbedChunks(self, request: pb.EmbedChunksRequest, context: Context) -> pb.EmbedChunksResponse:
        workspace_id = convert.workspace_in(request.parent)
        document_id = convert.document_in(workspace_id, request.document, field="document")
        self._publishing.require_wanted(workspace_id, document_id, request.version)
        remaining = self._vectors.embed(workspace_id, document_id, request.version)
        return pb.EmbedChunksResponse(remaining=remaining)

    def PublishDocument(self, request: pb.PublishDocumentRequest, context: Context) -> pb.PublishDocumentResponse:
        workspace_id = convert.workspace_in(request.parent)
        facts = convert.facts_from_proto(workspace_id, request.facts)
        outcome = self._publishing.publish(workspace_id, facts, request.passage_count)
        return convert.outcome_to_proto(outcome)
