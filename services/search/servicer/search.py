"""The gRPC adapter of search: convert, call, convert."""

from typing import Any

from plinth.search.v1 import search_service_pb2 as pb
from plinth.search.v1 import search_service_pb2_grpc
from services.search.convert import search as convert
from services.search.convert.index import workspace_in
from services.search.service import Searching

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class SearchServicer(search_service_pb2_grpc.SearchServiceServicer):
    """SearchService."""

    def __init__(self, services: Searching) -> None:
        self._search = services.search
        self._suggest = services.suggest

    def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:
        wanted = convert.request_from_proto(request)
        return convert.found_to_proto(wanted.wanted.workspace_id, self._search.search(wanted))

    def Suggest(self, request: pb.SuggestRequest, context: Context) -> pb.SuggestResponse:
        workspace_id = workspace_in(request.parent)
        found = self._suggest.suggest(workspace_id, request.query, request.page_size)
        return pb.SuggestResponse(suggestions=[convert.suggestion_to_proto(workspace_id, one) for one in found])

    def ExplainHit(self, request: pb.ExplainHitRequest, context: Context) -> pb.ExplainHitResponse:
        wanted = convert.wanted_from_proto(request)
        explanation = self._search.explain(wanted, convert.chunk_in(request))
        return convert.explanation_to_proto(wanted.workspace_id, explanation)
