"""Between documents and their protobuf messages."""

from collections.abc import Iterable
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from plinth.documents.v1 import document_pb2, upload_pb2
from plinth.documents.v1 import document_service_pb2 as pb
from services.documents.errors import VisibilityInvalid
from services.documents.messages import STATES, visibility_message
from services.documents.model.documents import Document, DocumentPatch, DocumentVersion, Facts
from services.documents.model.names import DOCUMENT, INGESTION, ROLE
from services.documents.model.visibility import Viewer, Visibility, VisibilityKind
from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.etags import etag_of
from services.kernel.names import USER, WORKSPACE
from services.kernel.wire import in_mask, masked_text, timestamp

_KINDS = {
    document_pb2.Visibility.KIND_EVERYONE: VisibilityKind.EVERYONE,
    document_pb2.Visibility.KIND_ROLES: VisibilityKind.ROLES,
    document_pb2.Visibility.KIND_MEMBERS: VisibilityKind.MEMBERS,
}


def workspace_in(parent: str) -> UUID:
    """The workspace in the field `parent`. Raises NameInvalid."""
    (workspace_id,) = WORKSPACE.ids(parent, field="parent")
    return workspace_id


def document_in(name: str, *, field: str = "name") -> tuple[UUID, UUID]:
    """The workspace and the id of a document's name. Raises NameInvalid, which blames `field`."""
    workspace_id, document_id = DOCUMENT.ids(name, field=field)
    return workspace_id, document_id


def document_to_proto(document: Document) -> document_pb2.Document:
    """A document."""
    ingestion = (
        INGESTION.format(workspace=document.workspace_id, ingestion=document.ingestion_id)
        if document.ingestion_id is not None
        else ""
    )
    return document_pb2.Document(
        name=document.name,
        display_name=document.display_name,
        tags=document.tags,
        metadata=document.metadata,
        visibility=visibility_message(document.workspace_id, document.visibility),
        media_type=document.media_type,
        size_bytes=document.size_bytes,
        sha256=document.sha256,
        version=document.current_version,
        language=document.language,
        page_count=document.page_count,
        ingestion=ingestion,
        ingestion_state=STATES[document.ingestion_state],
        indexed_version=document.indexed_version,
        author=USER.format(user=document.author_id),
        etag=etag_of(document.version),
        create_time=timestamp(document.create_time),
        update_time=timestamp(document.update_time),
    )


def version_to_proto(version: DocumentVersion) -> document_pb2.DocumentVersion:
    """A document as it was."""
    return document_pb2.DocumentVersion(
        document=DOCUMENT.format(workspace=version.workspace_id, document=version.document_id),
        version=version.version,
        media_type=version.media_type,
        size_bytes=version.size_bytes,
        sha256=version.sha256,
        author=USER.format(user=version.author_id),
        create_time=timestamp(version.create_time),
    )


def facts_from_proto(
    workspace_id: UUID,
    message: "document_pb2.Document | upload_pb2.Upload | pb.UploadDocumentRequest",
    *,
    field: str = "visibility",
) -> Facts:
    """What is known of a document that is to be. Raises VisibilityInvalid, or FieldsInvalid, which blames `field`."""
    visibility = None
    if message.HasField("visibility"):
        visibility = visibility_from_proto(workspace_id, message.visibility, field=field)
    return Facts(message.display_name, tuple(message.tags), dict(message.metadata), visibility)


def patch_from_proto(workspace_id: UUID, document: document_pb2.Document, mask: FieldMask) -> DocumentPatch:
    """What to change of a document. Raises VisibilityInvalid or FieldsInvalid."""
    visibility = None
    if in_mask(mask, "visibility", populated=document.HasField("visibility")):
        visibility = visibility_from_proto(workspace_id, document.visibility, field="document.visibility")
    return DocumentPatch(
        display_name=masked_text(document, mask, "display_name"),
        tags=tuple(document.tags) if in_mask(mask, "tags", populated=bool(document.tags)) else None,
        metadata=dict(document.metadata) if in_mask(mask, "metadata", populated=bool(document.metadata)) else None,
        visibility=visibility,
    )


def visibility_from_proto(workspace_id: UUID, message: document_pb2.Visibility, *, field: str) -> Visibility:
    """Who may see a document of the workspace. Raises VisibilityInvalid, or FieldsInvalid where it says no kind.

    JSON passes over a name that it does not know, so a mistyped `kind` comes as none. That must not mean everyone.
    """
    if message.kind == document_pb2.Visibility.KIND_UNSPECIFIED:
        problem = "must say who: KIND_EVERYONE, KIND_ROLES or KIND_MEMBERS"
        raise FieldsInvalid(FieldViolation(f"{field}.kind", problem))
    return Visibility.of(
        _KINDS[message.kind],
        tuple(_role_in(workspace_id, role) for role in message.roles),
        tuple(USER.ids(member, field="visibility.members")[0] for member in message.members),
    )


def viewer_from_proto(request: pb.ResolveDocumentsRequest) -> Viewer:
    """Who would see the documents. Raises NameInvalid."""
    (user_id,) = USER.ids(request.user, field="user")
    return Viewer(user_id, ROLE.parse(request.role, field="role")["role"], request.sees_all)


def documents_in(workspace_id: UUID, names: Iterable[str]) -> list[UUID]:
    """The ids of those that are of the workspace. Raises NameInvalid."""
    parsed = (document_in(name, field="documents") for name in names)
    return [document_id for there, document_id in parsed if there == workspace_id]


def _role_in(workspace_id: UUID, name: str) -> str:
    parts = ROLE.parse(name, field="visibility.roles")
    if UUID(parts["workspace"]) != workspace_id:
        raise VisibilityInvalid("roles", "a role is of another workspace")
    return parts["role"]
