"""Between searches and their protobuf messages."""

from uuid import UUID

from plinth.search.v1 import hit_pb2
from plinth.search.v1 import search_service_pb2 as pb
from services.kernel.names import uuid_in
from services.search.convert.index import workspace_in
from services.search.model.hits import (
    Explanation,
    Hit,
    Mode,
    Request,
    ScoreParts,
    SearchPage,
    Suggestion,
    TermContribution,
    Wanted,
)
from services.search.model.names import DOCUMENT

_MODES = {
    hit_pb2.SEARCH_MODE_UNSPECIFIED: Mode.HYBRID,
    hit_pb2.SEARCH_MODE_HYBRID: Mode.HYBRID,
    hit_pb2.SEARCH_MODE_LEXICAL: Mode.LEXICAL,
    hit_pb2.SEARCH_MODE_SEMANTIC: Mode.SEMANTIC,
}


def wanted_from_proto(request: pb.SearchRequest | pb.ExplainHitRequest) -> Wanted:
    """What is looked for. Raises NameInvalid."""
    return Wanted(workspace_in(request.parent), request.query, _MODES[request.mode], request.filter, request.prefix)


def request_from_proto(request: pb.SearchRequest) -> Request:
    """What is looked for, and how it is to be answered. Raises NameInvalid."""
    return Request(
        wanted_from_proto(request),
        page_size=request.page_size,
        page_token=request.page_token,
        collapse=request.collapse_documents,
        unlogged=request.unlogged,
    )


def chunk_in(request: pb.ExplainHitRequest) -> UUID:
    """The id of the passage."""
    return uuid_in(request.chunk)


def found_to_proto(workspace_id: UUID, found: SearchPage) -> pb.SearchResponse:
    """A page of hits."""
    return pb.SearchResponse(
        hits=[_hit_to_proto(workspace_id, hit) for hit in found.hits],
        next_page_token=found.next_page_token,
        mode=hit_pb2.SearchMode.Value(f"SEARCH_MODE_{found.mode.name}"),
        corrected_query=found.corrected_query,
        lexical_matches=found.lexical_matches,
    )


def explanation_to_proto(workspace_id: UUID, explanation: Explanation) -> pb.ExplainHitResponse:
    """Why a passage has its place."""
    return pb.ExplainHitResponse(
        hit=_hit_to_proto(workspace_id, explanation.hit),
        terms=map(_term_to_proto, explanation.terms),
        passage_count=explanation.passage_count,
        length=explanation.length,
        average_length=explanation.average_length,
    )


def suggestion_to_proto(workspace_id: UUID, suggestion: Suggestion) -> pb.Suggestion:
    """One way to go on."""
    document_id = suggestion.document_id
    document = "" if document_id is None else DOCUMENT.format(workspace=workspace_id, document=document_id)
    return pb.Suggestion(text=suggestion.text, document=document)


def _hit_to_proto(workspace_id: UUID, hit: Hit) -> hit_pb2.Hit:
    return hit_pb2.Hit(
        chunk=str(hit.chunk_id),
        document=DOCUMENT.format(workspace=workspace_id, document=hit.document_id),
        display_name=hit.display_name,
        media_type=hit.media_type,
        version=hit.version,
        snippet=hit.snippet,
        highlights=[hit_pb2.Highlight(start=start, end=end) for start, end in hit.highlights],
        position=hit_pb2.Position(page=hit.page, headings=hit.headings, start=hit.start, end=hit.end),
        score=hit.score,
        parts=_parts_to_proto(hit.parts),
        more_in_document=hit.more_in_document,
    )


def _parts_to_proto(parts: ScoreParts) -> hit_pb2.ScoreParts:
    return hit_pb2.ScoreParts(
        lexical_score=parts.lexical_score,
        lexical_rank=parts.lexical_rank,
        semantic_score=parts.semantic_score,
        semantic_rank=parts.semantic_rank,
        lexical_weight=parts.lexical_weight,
        semantic_weight=parts.semantic_weight,
    )


def _term_to_proto(term: TermContribution) -> hit_pb2.TermContribution:
    return hit_pb2.TermContribution(
        word=term.word,
        terms=term.terms,
        frequency=term.tf,
        passage_frequency=term.df,
        idf=term.idf,
        score=term.score,
    )
