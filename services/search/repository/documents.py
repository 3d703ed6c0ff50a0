"""Published documents, as rows: what they are filtered by."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from sqlalchemy import LargeBinary, and_, any_, bindparam, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import Integer

from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import TEXT, TEXT_MAP, TEXTS, TIMESTAMP, Field, Fields, ListQuery, resource
from services.kernel.filtering.condition import Condition
from services.kernel.names import USER
from services.search.model.facts import Audience, Document, Facts
from services.search.model.names import DOCUMENT
from services.search.tables import audiences, documents

_t = documents.c

FIELDS = Fields(
    Field("document", _t.document_id, resource(DOCUMENT)),
    Field("display_name", _t.display_name, TEXT),
    Field("media_type", _t.media_type, TEXT),
    Field("language", _t.language, TEXT),
    Field("author", _t.author_id, resource(USER)),
    Field("tags", _t.tags, TEXTS),
    Field("metadata", _t.metadata, TEXT_MAP),
    Field("create_time", _t.create_time, TIMESTAMP),
    Field("update_time", _t.update_time, TIMESTAMP),
    id=_t.document_id,
)

_in_workspace = _t.workspace_id == bindparam("workspace")
_by_id = and_(_in_workspace, _t.document_id == bindparam("document"))
_GET = compiled(
    select(documents, audiences.c.roles, audiences.c.members)
    .outerjoin(
        audiences,
        and_(audiences.c.workspace_id == _t.workspace_id, audiences.c.audience_id == _t.audience_id),
    )
    .where(_by_id)
)
_KEY = ("workspace_id", "document_id")
_written = upsert(documents).values({column.name: bindparam(column.name) for column in documents.columns})
_PUT = compiled(
    _written.on_conflict_do_update(
        index_elements=_KEY,
        set_={column.name: _written.excluded[column.name] for column in documents.columns if column.name not in _KEY},
    ).inline()
)
_REMOVE = compiled(delete(documents).where(_by_id))


@lru_cache(maxsize=256)
def _numbers(shape: "_Shape") -> Statement:
    # As bytes: an array of numbers costs the client ten times as much.
    numbers = func.string_agg(func.int4send(_t.doc_no), literal_column("''::bytea", LargeBinary()))
    statement = select(numbers.label("numbers")).where(_in_workspace)
    if shape.by_audience:
        statement = statement.where(_t.audience_id == any_(bindparam("audiences", type_=ARRAY(Integer))))
    if shape.condition is not None:
        statement = statement.where(shape.condition.sql)
    return compiled(statement)


class _Shape:
    """What the statement depends on; equal to all others that differ in values only."""

    __slots__ = ("by_audience", "condition", "key")

    def __init__(self, condition: Condition | None, *, by_audience: bool) -> None:
        self.condition = condition
        self.by_audience = by_audience
        self.key = (by_audience, condition.shape if condition is not None else None)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self.key == other.key


class DocumentRepository:
    """The published documents of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, workspace_id: UUID, document_id: UUID) -> Document | None:
        """The document."""
        return self._session.first(_GET, _document, workspace=workspace_id, document=document_id)

    def put(self, workspace_id: UUID, document: Document) -> None:
        """Insert it, or write its new values."""
        facts = document.facts
        self._session.run(
            _PUT,
            workspace_id=workspace_id,
            document_id=facts.document_id,
            doc_no=document.doc_no,
            document_version=facts.version,
            revision=facts.revision,
            audience_id=document.audience_id,
            display_name=facts.display_name,
            media_type=facts.media_type,
            language=facts.language,
            tags=list(facts.tags),
            metadata=Jsonb(facts.metadata),
            author_id=facts.author_id,
            chunk_count=document.chunk_count,
            create_time=facts.create_time,
            update_time=facts.update_time,
        )

    def remove(self, workspace_id: UUID, document_id: UUID) -> None:
        """Delete it, with its passages."""
        self._session.run(_REMOVE, workspace=workspace_id, document=document_id)

    def numbers(self, workspace_id: UUID, wanted: ListQuery, audiences: Sequence[int] | None) -> NDArray[np.int32]:
        """The doc_nos, in no order, of what the filter lets through and one of the audiences sees (None: all)."""
        condition = wanted.condition
        values: dict[str, object] = {} if audiences is None else {"audiences": list(audiences)}
        found = self._session.first(
            _numbers(_Shape(condition, by_audience=audiences is not None)),
            lambda numbers: numbers,
            workspace=workspace_id,
            **values,
            **(condition.values if condition is not None else {}),
        )
        return np.frombuffer(found or b"", ">i4").astype(np.int32)


def _document(
    *,
    doc_no: int,
    document_version: int,
    audience_id: int,
    tags: list[str],
    chunk_count: int,
    roles: list[str] | None,
    members: list[UUID] | None,
    workspace_id: UUID,
    **columns: Any,  # the other columns of the table, by name
) -> Document:
    audience = Audience(tuple(roles or ()), tuple(members or ()))
    facts = Facts(version=document_version, tags=tuple(tags), audience=audience, **columns)
    return Document(facts, doc_no, audience_id, chunk_count)
