"""A large index, put there by the domain's own code, but by the segment instead of by the document.

Others have the same passages under names of their own: rows like any other, which copy the quicker.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql

from services.kernel.ids import new_id
from services.runtime import open_runtime
from services.search.model import postings
from services.search.model.facts import EVERYONE, EVERYONE_ID, Document, Facts
from services.search.model.index import Index
from services.search.model.passages import Readable, count_words
from services.search.model.segments import FANOUT, Segment, SegmentState, level_of
from services.search.model.vectors import Model, ModelState
from services.search.service import SearchServices, build_search
from tests.bench.h2load import BenchError
from tests.support.settings import settings_for_tests

_LANGUAGE = "en"
_NOW = datetime(2026, 3, 1, tzinfo=UTC)
# What merging leaves behind: segments of these sizes, the largest first, and one of what is left.
_SEGMENTS = (64 * FANOUT**2, 64 * FANOUT, 64)
# Every so-manieth document has this tag.
SHARES = {"hundredth": 100, "tenth": 10, "half": 2}
_AUTHOR = UUID(int=7)
_COPY_CHUNKS = """copy search.chunks (workspace_id, chunk_no, chunk_id, document_id, ordinal, length, text, headings,
    page, start_offset, end_offset, language, counted_for) from stdin"""
# What documents knows of them, for it is asked about each hit.
_TELL_DOCUMENTS = """
    insert into documents.documents
    select workspace_id, document_id, display_name, tags, metadata, 'everyone', '{}', '{}', author_id, media_type,
        0, '', document_version, document_version, language, 0, null, 'indexed', 1, create_time, update_time
    from search.documents"""
# Keys have the workspace in them, so all else of a row may be as it is.
_TABLES = ("indexes", "documents", "chunks", "segments", "postings", "vocabulary", "models", "model_parts", "vectors")
_COLUMNS = """select column_name from information_schema.columns where table_schema = 'search' and table_name = %s
    and is_generated = 'NEVER' and column_name <> 'workspace_id'"""


@dataclass(frozen=True, slots=True)
class Filled:
    """A workspace whose passages can be searched in this process, too."""

    services: SearchServices
    workspace_id: UUID
    model: Model


@contextmanager
def opened(app_url: str) -> Iterator[SearchServices]:
    """Search's use cases, in this process."""
    settings = settings_for_tests(app_url)
    with open_runtime(settings, "bench", lets_in=False) as runtime:
        yield build_search(runtime.resources, settings)


def fill(
    services: SearchServices,
    owner: "psycopg.Connection[Any]",
    workspace_id: UUID,
    library: Sequence[Sequence[str]],
) -> Filled:
    """Publish these documents, each given as its passages, in a workspace that has none, and make their vectors.

    Raises BenchError where there is too little text for vectors.
    """
    published = [_document(doc_no, len(passages)) for doc_no, passages in enumerate(library)]
    with services.units(workspace_id) as uow:
        index = uow.repo.indexes.lock(workspace_id, _NOW)
        for document in published:
            uow.repo.documents.put(workspace_id, document)
        uow.commit()
    rows = (
        _Row(document, ordinal, Readable((), text, _LANGUAGE))
        for document, passages in zip(published, library, strict=True)
        for ordinal, text in enumerate(passages)
    )
    index = replace(index, next_doc_no=len(library), document_count=len(library))
    for size in _sizes(sum(map(len, library))):
        index = _add_segment(services, owner, index, list(islice(rows, size)))
    with services.units(workspace_id) as uow:
        index = replace(index, revision=index.revision + 1)
        uow.repo.indexes.save(index)
        services.lifecycle.begin_anew(uow, index)
        uow.commit()
    return Filled(services, workspace_id, _model(services, workspace_id))


def copy(owner: "psycopg.Connection[Any]", workspace_id: UUID, passages: int, workspaces: int) -> list[UUID]:
    """New workspaces, each with the first so many passages and vectors of a filled one, and all its postings."""
    others = [new_id() for _ in range(workspaces)]
    # No foreign keys are looked up.
    owner.execute("set session_replication_role = replica")
    for table in _TABLES:
        columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in owner.execute(_COLUMNS, [table]))
        numbered = table in ("chunks", "vectors")
        owner.execute(
            sql.SQL(
                "insert into search.{table} (workspace_id, {columns}) select other, {columns}"
                " from search.{table}, unnest(%s::uuid[]) other where workspace_id = %s and {part}"
            ).format(
                table=sql.Identifier(table),
                columns=columns,
                part=sql.SQL("chunk_no < {}").format(sql.Literal(passages)) if numbered else sql.SQL("true"),
            ),
            [others, workspace_id],
        )
    return others


def settle_down(owner: "psycopg.Connection[Any]") -> None:
    """Tell documents of all of it, and leave nothing to do for later: statistics, visibility, writing back."""
    owner.execute(_TELL_DOCUMENTS)
    for table in _TABLES:
        owner.execute(sql.SQL("vacuum (analyze) search.{}").format(sql.Identifier(table)))
    owner.execute("vacuum (analyze) documents.documents")
    owner.execute("checkpoint")


@dataclass(frozen=True, slots=True)
class _Row:
    """A passage, and where it stands."""

    document: Document
    ordinal: int
    readable: Readable


def _document(doc_no: int, passages: int) -> Document:
    document_id = new_id()
    facts = Facts(
        document_id=document_id,
        version=1,
        display_name=f"document-{doc_no}.txt",
        media_type="text/plain",
        language=_LANGUAGE,
        tags=tuple(tag for tag, step in SHARES.items() if doc_no % step == 0),
        metadata={},
        author_id=_AUTHOR,
        audience=EVERYONE,
        revision=1,
        create_time=_NOW,
        update_time=_NOW,
    )
    return Document(facts, doc_no, EVERYONE_ID, passages)


def _sizes(passages: int) -> Iterator[int]:
    for size in _SEGMENTS:
        yield from [size] * (passages // size)
        passages %= size
    if passages:
        yield passages


def _add_segment(
    services: SearchServices, owner: "psycopg.Connection[Any]", index: Index, rows: Sequence[_Row]
) -> Index:
    """The index after these passages, which have the next numbers."""
    workspace_id, first_no, count = index.workspace_id, index.next_chunk_no, len(rows)
    terms = [row.readable.terms() for row in rows]
    lengths = [postings.chunk_length(one) for one in terms]
    with owner.cursor().copy(_COPY_CHUNKS) as copying:
        for chunk_no, (row, length) in enumerate(zip(rows, lengths, strict=True), first_no):
            text, document_id = row.readable.text, row.document.facts.document_id
            key = (workspace_id, chunk_no, new_id(), document_id, row.ordinal, length)
            copying.write_row((*key, text, list(row.readable.headings), 0, 0, len(text), _LANGUAGE, EVERYONE_ID))
    segment = Segment(index.next_segment_id, level_of(count), first_no, first_no + count - 1, count)
    doc_nos = np.array([row.document.doc_no for row in rows], np.int32)
    with services.units(workspace_id) as uow:
        uow.repo.segments.add(workspace_id, segment, doc_nos, SegmentState.LIVE)
        uow.repo.postings.add(workspace_id, segment.segment_id, postings.encoded(postings.build(0, terms), 0))
        uow.repo.vocabulary.count(workspace_id, EVERYONE_ID, count_words(row.readable.vocabulary() for row in rows))
        uow.commit()
    return replace(index, next_chunk_no=first_no + count, next_segment_id=segment.segment_id + 1).counting(
        0, count, sum(lengths), {_LANGUAGE: count}
    )


def _model(services: SearchServices, workspace_id: UUID) -> Model:
    """The vectors, as a worker's job makes them."""
    with services.units(workspace_id) as uow:
        wanted = uow.repo.models.by_state(workspace_id)[ModelState.BUILDING]
    services.vector_builds.build(workspace_id, wanted.model_id, _never, time.sleep)
    with services.units(workspace_id) as uow:
        model = uow.repo.models.live(workspace_id)
    if model is None:
        raise BenchError("the text is too little for vectors")
    return model


def _never() -> None:
    """Nothing ends it early."""
