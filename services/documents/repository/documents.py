"""Documents, as rows."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb
from sqlalchemy import and_, any_, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from services.documents.errors import DocumentNameTaken
from services.documents.model.documents import Document
from services.documents.model.ingestions import STATES_BY_WIRE_NAME, Ingestion, IngestionState
from services.documents.model.visibility import Viewer, VisibilityKind
from services.documents.repository.visibility import SEEN, columns_of, looking, visibility_of
from services.documents.tables import documents
from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import (
    INTEGER,
    TEXT,
    TEXT_MAP,
    TEXTS,
    TIMESTAMP,
    Field,
    Fields,
    ListQuery,
    Part,
    one_of,
    resource,
)
from services.kernel.names import USER
from services.kernel.paging import Page

_t = documents.c

FIELDS = Fields(
    Field("display_name", _t.display_name, TEXT, sortable=True),
    Field("media_type", _t.media_type, TEXT),
    Field("language", _t.language, TEXT),
    Field("author", _t.author_id, resource(USER)),
    Field("tags", _t.tags, TEXTS),
    Field("metadata", _t.metadata, TEXT_MAP),
    Field("ingestion_state", _t.ingestion_state, one_of(STATES_BY_WIRE_NAME)),
    Field("size_bytes", _t.size_bytes, INTEGER, sortable=True),
    Field("create_time", _t.create_time, TIMESTAMP, sortable=True),
    Field("update_time", _t.update_time, TIMESTAMP, sortable=True),
    id=_t.document_id,
    default_order="create_time",
)

# What a use case may write after the first time. The rest follows the ingestion, whose job does not hold the lock.
_WRITTEN = (
    *("display_name", "tags", "metadata", "visibility", "visible_roles", "visible_members"),
    *("media_type", "size_bytes", "sha256", "current_version", "version", "update_time"),
)

_in_workspace = _t.workspace_id == bindparam("workspace")
_by_id = and_(_in_workspace, _t.document_id == bindparam("document"))
_named = and_(_in_workspace, _t.display_name == bindparam("display_name"))
_ADD = compiled(
    insert(documents)
    .values({column.name: bindparam(column.name) for column in documents.columns})
    .on_conflict_do_nothing(index_elements=["workspace_id", "display_name"])
)
_GET = compiled(select(documents).where(_by_id))
# NO KEY UPDATE: those who only refer to the document, like a new version, need not wait.
_LOCK = compiled(select(documents).where(_by_id).with_for_update(key_share=True))
_FIND = compiled(select(documents).where(_named))
_LOCK_NAMED = compiled(select(documents).where(_named).with_for_update(key_share=True))
_SAVE = compiled(update(documents).where(_by_id).values({column: bindparam(column) for column in _WRITTEN}))
_FOLLOW = compiled(
    update(documents)
    .where(_by_id)
    .values(ingestion_id=bindparam("ingestion_id"), ingestion_state=bindparam("ingestion_state"))
    .returning((_t.visibility == VisibilityKind.EVERYONE.value).label("for_everyone"))
)
_INDEXED = compiled(
    update(documents)
    .where(_by_id, _t.indexed_version <= bindparam("indexed_version"))
    .values(
        indexed_version=bindparam("indexed_version"), language=bindparam("language"), page_count=bindparam("page_count")
    )
)
_REMOVE = compiled(delete(documents).where(_by_id))
_SEEN_OF = compiled(
    select(documents).where(
        _in_workspace, _t.document_id == any_(bindparam("documents", type_=ARRAY(_t.document_id.type))), SEEN
    )
)


@lru_cache(maxsize=256)
def _page(part: Part) -> Statement:
    return compiled(part.narrow(select(documents).where(_in_workspace, SEEN)).limit(bindparam("count")))


class DocumentRepository:
    """The session's workspace's documents. Display names are unique, also among those that the caller cannot see.

    Whoever locks a document and rows of its ingestions locks the document first.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, document: Document) -> bool:
        """Insert it, unless another one is called that, which is committed then: whether it was."""
        added = self._session.run(
            _ADD,
            workspace_id=document.workspace_id,
            document_id=document.document_id,
            author_id=document.author_id,
            indexed_version=document.indexed_version,
            language=document.language,
            page_count=document.page_count,
            ingestion_id=document.ingestion_id,
            ingestion_state=document.ingestion_state.value,
            create_time=document.create_time,
            **_written(document),
        )
        return added == 1

    def get(self, workspace_id: UUID, document_id: UUID) -> Document | None:
        """The document, whoever may see it."""
        return self._session.first(_GET, _document, workspace=workspace_id, document=document_id)

    def lock(self, workspace_id: UUID, document_id: UUID) -> Document | None:
        """The same, until the commit."""
        return self._session.first(_LOCK, _document, workspace=workspace_id, document=document_id)

    def find(self, workspace_id: UUID, display_name: str) -> Document | None:
        """The document that is called that, whoever may see it."""
        return self._session.first(_FIND, _document, workspace=workspace_id, display_name=display_name)

    def lock_named(self, workspace_id: UUID, display_name: str) -> Document | None:
        """The same, until the commit."""
        return self._session.first(_LOCK_NAMED, _document, workspace=workspace_id, display_name=display_name)

    def save(self, document: Document) -> None:
        """Write its new values, but for those that follow its ingestion. Raises DocumentNameTaken."""
        try:
            self._session.run(
                _SAVE, workspace=document.workspace_id, document=document.document_id, **_written(document)
            )
        except UniqueViolation:
            raise DocumentNameTaken(document.display_name) from None

    def follow(self, ingestion: Ingestion) -> bool:
        """Have the document show this ingestion, and where it stands: whether everyone may see the document."""
        for_everyone = self._session.first(
            _FOLLOW,
            lambda for_everyone: for_everyone,
            workspace=ingestion.workspace_id,
            document=ingestion.document_id,
            ingestion_id=ingestion.ingestion_id,
            ingestion_state=ingestion.state.value,
        )
        return bool(for_everyone)

    def indexed(self, ingestion: Ingestion, language: str, page_count: int) -> None:
        """Have the document show the version that can be found now, unless a newer one can."""
        self._session.run(
            _INDEXED,
            workspace=ingestion.workspace_id,
            document=ingestion.document_id,
            indexed_version=ingestion.document_version,
            language=language,
            page_count=page_count,
        )

    def remove(self, document: Document) -> None:
        """Delete it, with its versions and ingestions."""
        self._session.run(_REMOVE, workspace=document.workspace_id, document=document.document_id)

    def list_page(self, workspace_id: UUID, wanted: ListQuery, page: Page, viewer: Viewer) -> list[Document]:
        """A page of the documents that are asked for, of those that the viewer may see."""
        part = wanted.part(page)
        return self._session.all(
            _page(part), _document, workspace=workspace_id, count=page.count, **looking(viewer), **part.values
        )

    def list_seen(self, workspace_id: UUID, document_ids: Sequence[UUID], viewer: Viewer) -> list[Document]:
        """Those of the documents that the viewer may see, in no order."""
        return self._session.all(
            _SEEN_OF, _document, workspace=workspace_id, documents=list(document_ids), **looking(viewer)
        )


def _written(document: Document) -> dict[str, object]:
    """The columns of _WRITTEN."""
    return {
        "display_name": document.display_name,
        "tags": list(document.tags),
        "metadata": Jsonb(dict(document.metadata)),
        "media_type": document.media_type,
        "size_bytes": document.size_bytes,
        "sha256": document.sha256,
        "current_version": document.current_version,
        "version": document.version,
        "update_time": document.update_time,
        **columns_of(document.visibility),
    }


def _document(
    *,
    tags: list[str],
    visibility: str,
    visible_roles: list[str],
    visible_members: list[UUID],
    ingestion_state: str,
    **columns: Any,  # the columns of the table, by name
) -> Document:
    return Document(
        tags=tuple(tags),
        visibility=visibility_of(visibility, visible_roles, visible_members),
        ingestion_state=IngestionState(ingestion_state),
        **columns,
    )
