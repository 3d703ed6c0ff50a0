"""Between what a workspace stores and its protobuf message."""

from uuid import UUID

from plinth.documents.v1 import document_usage_pb2
from services.documents.model.allowance import Allowance
from services.documents.model.names import DOCUMENT_USAGE
from services.documents.model.usage import Usage


def usage_in(name: str) -> UUID:
    """The workspace of a usage's name. Raises NameInvalid."""
    (workspace_id,) = DOCUMENT_USAGE.ids(name)
    return workspace_id


def usage_to_proto(workspace_id: UUID, usage: Usage, allowance: Allowance) -> document_usage_pb2.DocumentUsage:
    """What a workspace stores, and what it may."""
    return document_usage_pb2.DocumentUsage(
        name=DOCUMENT_USAGE.format(workspace=workspace_id),
        document_count=usage.documents,
        version_bytes=usage.version_bytes,
        upload_bytes=usage.upload_bytes,
        max_documents=allowance.documents,
        max_versions=allowance.versions,
        max_bytes=allowance.total_bytes,
        max_file_bytes=allowance.file_bytes,
        max_packed_file_bytes=min(allowance.packed_bytes, allowance.file_bytes),
    )
