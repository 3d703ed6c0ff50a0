"""Vectors of passages, published and staged, as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    REAL,
    ColumnElement,
    Integer,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.model.passages import Readable
from services.search.model.vectors import Model, ModelState
from services.search.repository.batches import delete_some
from services.search.tables import chunks, documents, models, staged_chunks, staged_vectors, vectors

_t = vectors.c
_s = staged_vectors.c
_c = staged_chunks.c
_workspace = bindparam("workspace", type_=_t.workspace_id.type)
_model = bindparam("model", type_=_t.model_id.type)
_of_model = and_(_t.workspace_id == _workspace, _t.model_id == _model)
_staged_document = and_(_s.workspace_id == _workspace, _s.document_id == bindparam("document"))
# All numbers of all vectors behind each other: one array is much quicker read and written than a text for each vector.
_numbers = select(bindparam("numbers", type_=ARRAY(REAL)).label("flat")).subquery("numbers")
_dimensions = bindparam("dimensions", type_=Integer)


def _vector(place: ColumnElement[int]) -> ColumnElement[object]:
    flat = _numbers.c.flat[(place - 1) * _dimensions + 1 : place * _dimensions]
    return cast(flat, HALFVEC)


_published = (
    func.unnest(bindparam("chunk_nos", type_=ARRAY(Integer)))
    .table_valued("chunk_no", with_ordinality="place")
    .render_derived("given")
)
# Of passages that are there still: whoever adds vectors holds the index, so none goes meanwhile.
_PUT = compiled(
    upsert(vectors)
    .from_select(
        ["workspace_id", "model_id", "doc_no", "chunk_no", "embedding"],
        select(
            _workspace, _model, documents.c.doc_no, chunks.c.chunk_no, _vector(cast(_published.c.place, Integer))
        ).where(
            chunks.c.workspace_id == _workspace,
            chunks.c.chunk_no == _published.c.chunk_no,
            documents.c.workspace_id == chunks.c.workspace_id,
            documents.c.document_id == chunks.c.document_id,
        ),
    )
    .on_conflict_do_nothing()
    .inline()
)
# Both arrays make one walk along the key, whatever the planner knows of the table; an id is of one document alone.
_taken = (
    delete(staged_vectors)
    .where(
        _s.workspace_id == _workspace,
        _s.model_id == _model,
        _s.document_id == any_(bindparam("document_ids", type_=ARRAY(Uuid))),
        _s.chunk_id == any_(bindparam("chunk_ids", type_=ARRAY(Uuid))),
    )
    .returning(_s.chunk_id, _s.embedding)
    .cte("taken")
)
_numbered = (
    func.unnest(
        bindparam("chunk_ids", type_=ARRAY(Uuid)),
        bindparam("doc_nos", type_=ARRAY(Integer)),
        bindparam("chunk_nos", type_=ARRAY(Integer)),
    )
    .table_valued("chunk_id", "doc_no", "chunk_no")
    .render_derived("numbered")
)
_PUBLISH = compiled(
    upsert(vectors)
    .from_select(
        ["workspace_id", "model_id", "doc_no", "chunk_no", "embedding"],
        select(_workspace, _model, _numbered.c.doc_no, _numbered.c.chunk_no, _taken.c.embedding).where(
            _taken.c.chunk_id == _numbered.c.chunk_id
        ),
    )
    .on_conflict_do_nothing()
    .inline()
)
_REMOVE = compiled(
    delete(vectors).where(
        _of_model,
        _t.doc_no == bindparam("doc_no"),
        _t.chunk_no == any_(bindparam("chunk_nos", type_=ARRAY(Integer))),
    )
)
_some = select(_t.doc_no, _t.chunk_no).where(_of_model).limit(bindparam("count"))
_REMOVE_SOME = compiled(delete(vectors).where(_of_model, tuple_(_t.doc_no, _t.chunk_no).in_(_some)))
_in_range = (
    select(chunks.c.chunk_no)
    .join(
        documents,
        and_(documents.c.workspace_id == chunks.c.workspace_id, documents.c.document_id == chunks.c.document_id),
    )
    .where(
        chunks.c.workspace_id == _workspace,
        chunks.c.chunk_no >= bindparam("first"),
        chunks.c.chunk_no < bindparam("end"),
    )
    .order_by(chunks.c.chunk_no)
    .limit(bindparam("count"))
)
_OWED = compiled(_in_range.add_columns(chunks.c.document_id, documents.c.doc_no, chunks.c.chunk_id))
_lacking = _in_range.where(
    ~exists().where(_of_model, _t.doc_no == documents.c.doc_no, _t.chunk_no == chunks.c.chunk_no)
)
_LACKING = compiled(_lacking)
_LACKING_TEXTS = compiled(_lacking.add_columns(chunks.c.headings, chunks.c.text, chunks.c.language))
_given = (
    func.unnest(bindparam("chunk_ids", type_=ARRAY(Uuid)))
    .table_valued("chunk_id", with_ordinality="place")
    .render_derived("given")
)
_STAGE = compiled(
    upsert(staged_vectors)
    .from_select(
        ["workspace_id", "model_id", "document_id", "stage_time", "chunk_id", "embedding"],
        select(
            models.c.workspace_id,
            models.c.model_id,
            bindparam("document", type_=_s.document_id.type),
            bindparam("now", type_=_s.stage_time.type),
            _given.c.chunk_id,
            _vector(cast(_given.c.place, Integer)),
        ).where(
            models.c.workspace_id == _workspace,
            models.c.model_id == _model,
            models.c.state != ModelState.RETIRED.value,
        ),
    )
    .on_conflict_do_nothing()
    .inline()
)
_unembedded = and_(
    _c.workspace_id == _workspace,
    _c.document_id == bindparam("document"),
    _c.document_version == bindparam("version"),
    ~exists().where(
        chunks.c.workspace_id == _workspace, chunks.c.chunk_id == _c.chunk_id, chunks.c.language == _c.language
    ),
    ~exists().where(_staged_document, _s.model_id == _model, _s.chunk_id == _c.chunk_id),
)
_UNEMBEDDED = compiled(
    select(_c.chunk_id, _c.headings, _c.text, _c.language)
    .where(_unembedded)
    .order_by(_c.ordinal)
    .limit(bindparam("count"))
)
_COUNT_UNEMBEDDED = compiled(select(func.count().label("count")).where(_unembedded))
_passages = select(chunks.c.chunk_id).where(
    chunks.c.workspace_id == _workspace, chunks.c.document_id == bindparam("document")
)
_UNSTAGE = compiled(delete(staged_vectors).where(_staged_document, _s.chunk_id.not_in(_passages)))
_SWEEP = delete_some(staged_vectors, _s.stage_time < bindparam("before"))


@dataclass(frozen=True, slots=True)
class Numbered:
    """A published passage, by its ids and by its numbers."""

    document_id: UUID
    doc_no: int
    chunk_id: UUID
    chunk_no: int


class VectorRepository:
    """The vectors of the session's workspace. They are of length 1."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, model: Model, chunk_nos: NDArray[np.int32], embeddings: NDArray[np.float32]) -> int:
        """Insert those of the passages that are still published, and have none yet: how many there were."""
        return self._session.run(
            _PUT,
            workspace=model.workspace_id,
            model=model.model_id,
            chunk_nos=arrays.integers(chunk_nos.tolist()),
            dimensions=model.dimensions,
            numbers=arrays.reals(embeddings.astype(">f4").tobytes()),
        )

    def owed(self, model: Model, first: int, count: int) -> list[Numbered]:
        """The next published passages from a number on that a job owes a vector, whether they have one or not."""
        return self._session.all(
            _OWED, Numbered, workspace=model.workspace_id, first=first, end=model.end_chunk_no, count=count
        )

    def publish(self, model: Model, passages: Sequence[Numbered]) -> int:
        """Move the staged ones of these passages to where they are found: how many there were."""
        return self._session.run(
            _PUBLISH,
            workspace=model.workspace_id,
            model=model.model_id,
            document_ids=arrays.uuids(sorted({one.document_id for one in passages})),
            chunk_ids=arrays.uuids([one.chunk_id for one in passages]),
            doc_nos=arrays.integers([one.doc_no for one in passages]),
            chunk_nos=arrays.integers([one.chunk_no for one in passages]),
        )

    def remove(self, model: Model, doc_no: int, chunk_nos: Sequence[int]) -> int:
        """Delete those of passages of a document: how many there were."""
        return self._session.run(
            _REMOVE,
            workspace=model.workspace_id,
            model=model.model_id,
            doc_no=doc_no,
            chunk_nos=arrays.integers(chunk_nos),
        )

    def remove_some(self, workspace_id: UUID, model_id: UUID, count: int) -> int:
        """Delete so many of a model's: how many there were."""
        return self._session.run(_REMOVE_SOME, workspace=workspace_id, model=model_id, count=count)

    def lacking(self, model: Model, count: int) -> NDArray[np.int32]:
        """The numbers of the next published passages that a job owes a vector and that have none, ascending."""
        found = self._session.all(
            _LACKING,
            lambda chunk_no: chunk_no,
            workspace=model.workspace_id,
            model=model.model_id,
            first=model.next_chunk_no,
            end=model.end_chunk_no,
            count=count,
        )
        return np.array(found, np.int32)

    def lacking_texts(self, model: Model, count: int) -> list[tuple[int, Readable]]:
        """The same with what they hold."""
        return self._session.all(
            _LACKING_TEXTS,
            lambda chunk_no, **content: (chunk_no, Readable.of(**content)),
            workspace=model.workspace_id,
            model=model.model_id,
            first=model.next_chunk_no,
            end=model.end_chunk_no,
            count=count,
        )

    def stage(
        self,
        model: Model,
        document_id: UUID,
        chunk_ids: Sequence[UUID],
        embeddings: NDArray[np.float32],
        now: datetime,
    ) -> None:
        """Keep those of staged passages, unless the model is retired."""
        self._session.run(
            _STAGE,
            workspace=model.workspace_id,
            model=model.model_id,
            document=document_id,
            chunk_ids=arrays.uuids(chunk_ids),
            dimensions=model.dimensions,
            numbers=arrays.reals(embeddings.astype(">f4").tobytes()),
            now=now,
        )

    def unembedded(self, model: Model, document_id: UUID, version: int, count: int) -> list[tuple[UUID, Readable]]:
        """The next staged passages of a version that are not published yet, and have no vector, by id."""
        return self._session.all(
            _UNEMBEDDED,
            lambda chunk_id, **content: (chunk_id, Readable.of(**content)),
            workspace=model.workspace_id,
            model=model.model_id,
            document=document_id,
            version=version,
            count=count,
        )

    def count_unembedded(self, model: Model, document_id: UUID, version: int) -> int:
        """How many of these there are."""
        found = self._session.first(
            _COUNT_UNEMBEDDED,
            lambda count: count,
            workspace=model.workspace_id,
            model=model.model_id,
            document=document_id,
            version=version,
        )
        return found or 0

    def unstage(self, workspace_id: UUID, document_id: UUID) -> None:
        """Delete the staged ones of a document, but for those of its published passages, which a job moves."""
        self._session.run(_UNSTAGE, workspace=workspace_id, document=document_id)

    def sweep(self, before: datetime, count: int) -> int:
        """Delete what was staged before then, of any workspace, at most so many: how many; in a system session."""
        return self._session.run(_SWEEP, before=before, count=count)
