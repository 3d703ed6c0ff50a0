"""Blobs, as rows: what lies in the store, or may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    any_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from services.documents.tables import blobs, documents, ingestions, upload_parts, uploads, versions
from services.kernel.db import Session, compiled
from services.kernel.errors import ConcurrentUpdate

_t = blobs.c


class BlobState(StrEnum):
    """What is known of a blob's bytes."""

    WRITING = "writing"
    """Somebody may be writing them; or was, and died."""
    LIVE = "live"
    """They are there, and something refers to them."""
    DOOMED = "doomed"
    """Nothing refers to them: they are to be deleted, and then the row."""


@dataclass(frozen=True, slots=True)
class BlobId:
    """Which blob."""

    workspace_id: UUID
    blob_id: UUID


# Before all of them.
FIRST = BlobId(UUID(int=0), UUID(int=0))

_in_workspace = _t.workspace_id == bindparam("workspace")
_by_id = and_(_in_workspace, _t.blob_id == bindparam("blob"))
_ADD = compiled(
    insert(blobs).values(
        workspace_id=bindparam("workspace"),
        blob_id=bindparam("blob"),
        state=BlobState.WRITING.value,
        create_time=bindparam("now"),
    )
)
_KEEP = compiled(update(blobs).where(_by_id, _t.state == BlobState.WRITING.value).values(state=BlobState.LIVE.value))
_DOOM = compiled(
    update(blobs)
    .where(_in_workspace, _t.blob_id == any_(bindparam("blobs", type_=ARRAY(_t.blob_id.type))))
    .values(state=BlobState.DOOMED.value)
)
_DROP = compiled(update(blobs).where(_by_id, _t.state == BlobState.WRITING.value).values(state=BlobState.DOOMED.value))
_DOOM_OF_DOCUMENT = compiled(
    update(blobs)
    .where(
        _in_workspace,
        or_(
            _t.blob_id.in_(
                select(versions.c.blob_id).where(
                    versions.c.workspace_id == bindparam("workspace"), versions.c.document_id == bindparam("document")
                )
            ),
            _t.blob_id.in_(
                select(ingestions.c.parsed_blob_id).where(
                    ingestions.c.workspace_id == bindparam("workspace"),
                    ingestions.c.document_id == bindparam("document"),
                )
            ),
        ),
    )
    .values(state=BlobState.DOOMED.value)
)
_DOOM_OF_UPLOAD = compiled(
    update(blobs)
    .where(
        _in_workspace,
        _t.blob_id.in_(
            select(upload_parts.c.blob_id).where(
                upload_parts.c.workspace_id == bindparam("workspace"),
                upload_parts.c.upload_id == bindparam("upload"),
            )
        ),
    )
    .values(state=BlobState.DOOMED.value)
)
# The planner has to see the words of a partial index's predicate.
_writing, _live, _doomed = (_t.state == literal_column(f"'{state.value}'") for state in BlobState)
_FORGOTTEN = (
    select(_t.workspace_id, _t.blob_id)
    .where(_writing, _t.create_time <= bindparam("before"))
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_GIVE_UP = compiled(
    update(blobs).where(tuple_(_t.workspace_id, _t.blob_id).in_(_FORGOTTEN)).values(state=BlobState.DOOMED.value)
)
_given = (
    func.unnest(
        bindparam("workspaces", type_=ARRAY(_t.workspace_id.type)), bindparam("blobs", type_=ARRAY(_t.blob_id.type))
    )
    .table_valued("workspace_id", "blob_id")
    .render_derived()
)
_IN = {
    state: compiled(
        select(_t.workspace_id, _t.blob_id)
        .where(
            condition,
            tuple_(_t.workspace_id, _t.blob_id) > tuple_(bindparam("after_workspace"), bindparam("after_blob")),
        )
        .order_by(_t.workspace_id, _t.blob_id)
        .limit(bindparam("count"))
    )
    for state, condition in ((BlobState.LIVE, _live), (BlobState.DOOMED, _doomed))
}
# All that refers to blobs. A blob has one owner, which whoever gives it up has locked: a document, or an upload.
_references = (versions.c.blob_id, upload_parts.c.blob_id, ingestions.c.parsed_blob_id)


def _owner_of(reference: ColumnElement[UUID], owner: ColumnElement[UUID]) -> Select[Any]:
    table = reference.table
    return select(owner).where(table.c.workspace_id == bindparam("workspace"), reference == bindparam("blob"))


_documents = _owner_of(versions.c.blob_id, versions.c.document_id).union_all(
    _owner_of(ingestions.c.parsed_blob_id, ingestions.c.document_id)
)
_LOCK_OWNER = [
    compiled(
        select(documents.c.document_id.label("id"))
        .where(documents.c.workspace_id == bindparam("workspace"), documents.c.document_id.in_(_documents))
        .with_for_update(key_share=True)
    ),
    compiled(_owner_of(ingestions.c.parsed_blob_id, ingestions.c.ingestion_id.label("id")).with_for_update()),
    compiled(
        select(uploads.c.upload_id.label("id"))
        .where(
            uploads.c.workspace_id == bindparam("workspace"),
            uploads.c.upload_id.in_(_owner_of(upload_parts.c.blob_id, upload_parts.c.upload_id)),
        )
        .with_for_update()
    ),
]
_REPLACE = [
    compiled(
        update(column.table)
        .where(column.table.c.workspace_id == bindparam("workspace"), column == bindparam("blob"))
        .values({column.name: bindparam("replacement")})
    )
    for column in _references
]
_referenced = [
    exists().where(column.table.c.workspace_id == _t.workspace_id, column == _t.blob_id) for column in _references
]
_DOOM_LOST = compiled(
    update(blobs)
    .where(
        _t.workspace_id == _given.c.workspace_id,
        _t.blob_id == _given.c.blob_id,
        _t.state == BlobState.LIVE.value,
        _t.create_time <= bindparam("before"),
        ~or_(*_referenced),
    )
    .values(state=BlobState.DOOMED.value)
    .returning(_t.workspace_id, _t.blob_id)
)
_SPARE = compiled(
    update(blobs)
    .where(
        _t.workspace_id == _given.c.workspace_id,
        _t.blob_id == _given.c.blob_id,
        _doomed,
        or_(*_referenced),
    )
    .values(state=BlobState.LIVE.value)
    .returning(_t.workspace_id, _t.blob_id)
)
_REMOVE = compiled(
    delete(blobs).where(
        _t.workspace_id == _given.c.workspace_id,
        _t.blob_id == _given.c.blob_id,
        _doomed,
    )
)


class BlobRepository:
    """The session's workspace's blobs; the last methods are for a system session, and see those of all."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, workspace_id: UUID, blob_id: UUID, now: datetime) -> None:
        """Insert one whose bytes will be written."""
        self._session.run(_ADD, workspace=workspace_id, blob=blob_id, now=now)

    def keep(self, workspace_id: UUID, blob_id: UUID) -> None:
        """Its bytes are there, and something refers to them. Raises ConcurrentUpdate where it was given up."""
        if not self._session.run(_KEEP, workspace=workspace_id, blob=blob_id):
            raise ConcurrentUpdate

    def doom(self, workspace_id: UUID, blob_ids: Sequence[UUID]) -> None:
        """Nothing refers to them any more."""
        self._session.run(_DOOM, workspace=workspace_id, blobs=list(blob_ids))

    def doom_of_document(self, workspace_id: UUID, document_id: UUID) -> None:
        """The same, of all that a document has: its versions, and what was parsed of them."""
        self._session.run(_DOOM_OF_DOCUMENT, workspace=workspace_id, document=document_id)

    def doom_of_upload(self, workspace_id: UUID, upload_id: UUID) -> None:
        """The same, of the parts of an upload."""
        self._session.run(_DOOM_OF_UPLOAD, workspace=workspace_id, upload=upload_id)

    def drop(self, workspace_id: UUID, blob_id: UUID) -> None:
        """Nothing will refer to one whose bytes were written for nothing; one that was kept stays."""
        self._session.run(_DROP, workspace=workspace_id, blob=blob_id)

    def replace(self, workspace_id: UUID, blob_id: UUID, replacement: UUID) -> bool:
        """Have what refers to a blob refer to another one, and doom it: whether anything did.

        Its owner is locked until the commit: the document, and then its ingestion, or the upload.
        """
        for statement in _LOCK_OWNER:
            self._session.all(statement, lambda id: id, workspace=workspace_id, blob=blob_id)
        # Whoever had the owner locked before may have given the blob up.
        count = sum(
            self._session.run(statement, workspace=workspace_id, blob=blob_id, replacement=replacement)
            for statement in _REPLACE
        )
        self.doom(workspace_id, [blob_id])
        return count > 0

    def give_up(self, before: datetime, count: int) -> int:
        """Doom those that nobody has kept since then, no more than `count`: how many."""
        return self._session.run(_GIVE_UP, before=before, count=count)

    def list_in(self, state: BlobState, after: BlobId, count: int) -> list[BlobId]:
        """Live ones, or doomed ones, behind one, in the order of their ids."""
        return self._session.all(
            _IN[state], BlobId, after_workspace=after.workspace_id, after_blob=after.blob_id, count=count
        )

    def doom_lost(self, among: Sequence[BlobId], before: datetime) -> list[BlobId]:
        """Doom those of them that are live since then although nothing refers to them: which."""
        return self._session.all(_DOOM_LOST, BlobId, before=before, **_ids(among))

    def spare(self, among: Sequence[BlobId]) -> list[BlobId]:
        """Have those of them live that something refers to although they are doomed: which."""
        return self._session.all(_SPARE, BlobId, **_ids(among))

    def remove(self, doomed: Sequence[BlobId]) -> None:
        """Delete the rows of doomed ones, whose bytes are gone."""
        self._session.run(_REMOVE, **_ids(doomed))


def _ids(blobs: Sequence[BlobId]) -> dict[str, object]:
    """The parameters of `_given`."""
    return {"workspaces": [blob.workspace_id for blob in blobs], "blobs": [blob.blob_id for blob in blobs]}
