"""Versions of documents, as rows."""

from dataclasses import asdict
from uuid import UUID

from sqlalchemy import BigInteger, and_, bindparam, cast, func, insert, select

from services.documents.model.documents import DocumentVersion
from services.documents.tables import versions
from services.kernel.db import Session, compiled

_t = versions.c

_of_document = and_(_t.workspace_id == bindparam("workspace"), _t.document_id == bindparam("document"))
_ADD = compiled(insert(versions).values({column.name: bindparam(column.name) for column in versions.columns}))
_GET = compiled(select(versions).where(_of_document, _t.version == bindparam("version")))
_SIZE = compiled(select(cast(func.coalesce(func.sum(_t.size_bytes), 0), BigInteger).label("size")).where(_of_document))
_PAGE = compiled(
    select(versions)
    .where(_of_document, _t.version < bindparam("before"))
    .order_by(_t.version.desc())
    .limit(bindparam("count"))
)


class VersionRepository:
    """The session's workspace's versions of documents: written once, and gone with their document."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, version: DocumentVersion) -> None:
        """Insert it."""
        self._session.run(_ADD, **asdict(version))

    def get(self, workspace_id: UUID, document_id: UUID, version: int) -> DocumentVersion | None:
        """One version."""
        return self._session.first(_GET, DocumentVersion, workspace=workspace_id, document=document_id, version=version)

    def size_of(self, workspace_id: UUID, document_id: UUID) -> int:
        """How many bytes all versions of a document have together."""
        return self._session.first(_SIZE, lambda size: size, workspace=workspace_id, document=document_id) or 0

    def list_page(self, workspace_id: UUID, document_id: UUID, before: int, count: int) -> list[DocumentVersion]:
        """A document's versions, the newest first, before the one named."""
        return self._session.all(
            _PAGE, DocumentVersion, workspace=workspace_id, document=document_id, before=before, count=count
        )
