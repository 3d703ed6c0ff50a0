"""Event messages, out of the model."""

from plinth.documents.v1 import events_pb2
from services.documents.messages import ingestion_message, visibility_message
from services.documents.model.documents import Document, DocumentVersion
from services.documents.model.ingestions import Ingestion
from services.kernel.names import USER


def created(document: Document) -> events_pb2.DocumentCreated:
    """A new document."""
    return events_pb2.DocumentCreated(
        document=document.name,
        display_name=document.display_name,
        author=USER.format(user=document.author_id),
        media_type=document.media_type,
        size_bytes=document.size_bytes,
    )


def version_added(document: Document, version: DocumentVersion) -> events_pb2.DocumentVersionAdded:
    """A document with a new version."""
    return events_pb2.DocumentVersionAdded(
        document=document.name,
        version=version.version,
        author=USER.format(user=version.author_id),
        media_type=version.media_type,
        size_bytes=version.size_bytes,
        sha256=version.sha256,
    )


def updated(before: Document, after: Document) -> events_pb2.DocumentUpdated:
    """A changed document."""
    return events_pb2.DocumentUpdated(
        document=after.name,
        display_name=after.display_name,
        tags=after.tags,
        metadata=after.metadata,
        visibility=visibility_message(after.workspace_id, after.visibility),
        changed_fields=after.changed_fields(before),
        revision=after.version,
    )


def deleted(document: Document) -> events_pb2.DocumentDeleted:
    """A document that is gone."""
    return events_pb2.DocumentDeleted(document=document.name, display_name=document.display_name)


def ingestion_advanced(ingestion: Ingestion) -> events_pb2.IngestionAdvanced:
    """An ingestion that has moved."""
    return events_pb2.IngestionAdvanced(document=ingestion.document_name, ingestion=ingestion_message(ingestion))


def indexed(document: Document, ingestion: Ingestion, version: DocumentVersion) -> events_pb2.DocumentIndexed:
    """A version that can be found, of a document as it was before: pages of one that could be are not charged again."""
    return events_pb2.DocumentIndexed(
        document=ingestion.document_name,
        version=version.version,
        ingestion=ingestion.name,
        page_count=ingestion.page_count,
        size_bytes=version.size_bytes,
        chunk_count=ingestion.chunk_count,
        metered_pages=ingestion.page_count if document.indexed_version < version.version else 0,
    )
