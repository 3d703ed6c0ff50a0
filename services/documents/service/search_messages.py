"""What search is told, out of the model."""

from collections.abc import Sequence

from plinth.search.v1 import index_service_pb2 as pb
from services.documents.messages import visibility_message
from services.documents.model.chunking import Chunk
from services.documents.model.documents import Document, DocumentVersion
from services.documents.model.ingestions import Ingestion
from services.documents.model.visibility import VisibilityKind
from services.kernel.names import USER, WORKSPACE
from services.kernel.wire import timestamp

# As many as a passage may have.
_HEADINGS = 20


def passage(chunk: Chunk) -> pb.Passage:
    """A chunk, as a passage of the index."""
    return pb.Passage(
        chunk=str(chunk.chunk_id),
        ordinal=chunk.ordinal,
        text=chunk.text,
        headings=chunk.headings[:_HEADINGS],
        page=chunk.page or 0,
        start=chunk.start,
        end=chunk.end,
        language=chunk.language,
    )


def passages_of(ingestion: Ingestion, chunks: Sequence[Chunk]) -> pb.StageChunksRequest:
    """Some chunks of the version that is ingested, to be staged."""
    return pb.StageChunksRequest(
        parent=WORKSPACE.format(workspace=ingestion.workspace_id),
        document=ingestion.document_name,
        version=ingestion.document_version,
        language=ingestion.language,
        passages=map(passage, chunks),
    )


def facts(document: Document, version: DocumentVersion, language: str) -> pb.DocumentFacts:
    """What is known of a document, and of the version that is published."""
    visibility = visibility_message(document.workspace_id, document.visibility)
    return pb.DocumentFacts(
        document=document.name,
        version=version.version,
        display_name=document.display_name,
        media_type=version.media_type,
        language=language,
        tags=document.tags,
        metadata=document.metadata,
        author=USER.format(user=document.author_id),
        everyone=document.visibility.kind is VisibilityKind.EVERYONE,
        roles=visibility.roles,
        members=visibility.members,
        create_time=timestamp(document.create_time),
        update_time=timestamp(document.update_time),
        revision=document.version,
    )
