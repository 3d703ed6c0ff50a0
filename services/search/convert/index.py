"""Between the index and its protobuf messages."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from plinth.documents.v1 import document_pb2
from plinth.documents.v1 import events_pb2 as documents_pb2
from plinth.search.v1 import index_pb2, index_service_pb2
from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.etags import etag_of
from services.kernel.events import Event
from services.kernel.names import USER, WORKSPACE, uuid_in
from services.kernel.wire import in_mask, optional_time, timestamp
from services.search.messages import embedder_message, vector_set_message
from services.search.model.facts import Audience, DocumentChange, DocumentUpdate, Facts
from services.search.model.index import EmbedderKind, IndexPatch, IndexView
from services.search.model.names import DOCUMENT, INDEX, ROLE
from services.search.model.passages import Outcome, Passage, Place

# PostgreSQL keeps no such character; another one in its place leaves all offsets as they are.
_NUL = str.maketrans("\0", "\ufffd")
_LONG_AGO = datetime.fromtimestamp(0, UTC)


def workspace_in(parent: str) -> UUID:
    """The workspace in the field `parent`. Raises NameInvalid."""
    (workspace_id,) = WORKSPACE.ids(parent, field="parent")
    return workspace_id


def index_in(name: str, *, field: str = "name") -> UUID:
    """The workspace of an index's name. Raises NameInvalid, which blames `field`."""
    (workspace_id,) = INDEX.ids(name, field=field)
    return workspace_id


def document_in(workspace_id: UUID, name: str, *, field: str) -> UUID:
    """The id in a document's name. Raises NameInvalid, or FieldsInvalid where it is another workspace's."""
    owner_id, document_id = DOCUMENT.ids(name, field=field)
    if owner_id != workspace_id:
        raise FieldsInvalid(FieldViolation(field, "is of another workspace"))
    return document_id


def index_to_proto(view: IndexView) -> index_pb2.Index:
    """The index as people see it."""
    index = view.index
    return index_pb2.Index(
        name=index.name,
        embedder=embedder_message(index.embedder),
        log_queries=index.log_queries,
        document_count=index.document_count,
        passage_count=index.chunk_count,
        term_count=index.term_count,
        languages=view.languages,
        live=vector_set_message(view.live),
        building=vector_set_message(view.building),
        etag=etag_of(index.version),
        update_time=timestamp(index.update_time),
    )


def index_patch_from_proto(index: index_pb2.Index, mask: FieldMask) -> IndexPatch:
    """What to change."""
    embedder = EmbedderKind.LSA
    if index.embedder != index_pb2.EMBEDDER_KIND_UNSPECIFIED:
        embedder = EmbedderKind[index_pb2.EmbedderKind.Name(index.embedder).removeprefix("EMBEDDER_KIND_")]
    stated = index.embedder != index_pb2.EMBEDDER_KIND_UNSPECIFIED
    return IndexPatch(
        embedder=embedder if in_mask(mask, "embedder", populated=stated) else None,
        log_queries=index.log_queries if in_mask(mask, "log_queries", populated=index.log_queries) else None,
    )


def passages_from_proto(request: index_service_pb2.StageChunksRequest) -> list[Passage]:
    """What to stage. Raises FieldsInvalid where two have one place."""
    passages = [
        Passage(
            chunk_id=uuid_in(passage.chunk),
            place=Place(passage.ordinal, passage.page, passage.start, passage.end),
            headings=tuple(heading.translate(_NUL) for heading in passage.headings),
            text=passage.text.translate(_NUL),
            language=passage.language or request.language,
        )
        for passage in request.passages
    ]
    if len({passage.place.ordinal for passage in passages}) < len(passages):
        raise FieldsInvalid(FieldViolation("passages", "two have the same ordinal"))
    return passages


def facts_from_proto(workspace_id: UUID, facts: index_service_pb2.DocumentFacts) -> Facts:
    """What is known of a document. Raises NameInvalid or FieldsInvalid."""
    author_id = _user_in(facts.author)
    return Facts(
        document_id=document_in(workspace_id, facts.document, field="facts.document"),
        version=facts.version,
        revision=facts.revision,
        display_name=facts.display_name,
        media_type=facts.media_type,
        language=facts.language,
        tags=tuple(facts.tags),
        metadata=dict(facts.metadata),
        author_id=author_id,
        audience=Audience.of(
            author_id,
            everyone=facts.everyone,
            roles=_roles_in(facts.roles),
            members=map(_user_in, facts.members),
        ),
        create_time=optional_time(facts, "create_time", inside="facts.") or _LONG_AGO,
        update_time=optional_time(facts, "update_time", inside="facts.") or _LONG_AGO,
    )


def outcome_to_proto(outcome: Outcome) -> index_service_pb2.PublishDocumentResponse:
    """What a publish did."""
    return index_service_pb2.PublishDocumentResponse(added=outcome.added, removed=outcome.removed, kept=outcome.kept)


def updated_document(event: Event) -> tuple[UUID, UUID, DocumentChange]:
    """Workspace, document and change of a DocumentUpdated."""
    updated = documents_pb2.DocumentUpdated.FromString(event.data)
    workspace_id, document_id = DOCUMENT.ids(updated.document)
    visibility, kinds = updated.visibility, document_pb2.Visibility
    update = DocumentUpdate(
        display_name=updated.display_name,
        tags=tuple(updated.tags),
        metadata=dict(updated.metadata),
        everyone=visibility.kind in (kinds.KIND_UNSPECIFIED, kinds.KIND_EVERYONE),
        roles=tuple(_roles_in(visibility.roles)) if visibility.kind == kinds.KIND_ROLES else (),
        members=tuple(map(_user_in, visibility.members)) if visibility.kind == kinds.KIND_MEMBERS else (),
    )
    return workspace_id, document_id, DocumentChange(event.time, updated.revision, update)


def deleted_document(event: Event) -> tuple[UUID, UUID, DocumentChange]:
    """Workspace, document and change of a DocumentDeleted."""
    deleted = documents_pb2.DocumentDeleted.FromString(event.data)
    workspace_id, document_id = DOCUMENT.ids(deleted.document)
    return workspace_id, document_id, DocumentChange(event.time, 0, None)


def _user_in(name: str) -> UUID:
    (user_id,) = USER.ids(name)
    return user_id


def _roles_in(names: Iterable[str]) -> list[str]:
    """Roles as a grant has them: by their last id."""
    return [ROLE.parse(name, field="facts.roles")["role"] for name in names]
