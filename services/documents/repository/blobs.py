"""Blobs, as rows: what lies in the store, or may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import and_, any_, bindparam, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY

from services.documents.tables import blobs, ingestions, upload_parts, versions
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
        size_bytes=0,
        sha256="",
        create_time=bindparam("now"),
    )
)
_KEEP = compiled(
    update(blobs)
    .where(_by_id, _t.state == BlobState.WRITING.value)
    .values(state=BlobState.LIVE.value, size_bytes=bindparam("size_bytes"), sha256=bindparam("sha256"))
)
_DOOM = compiled(
    update(blobs)
    .where(_in_workspace, _t.blob_id == any_(bindparam("blobs", type_=ARRAY(_t.blob_id.type))))
    .values(state=BlobState.DOOMED.value)
)
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
_FORGOTTEN = (
    select(_t.workspace_id, _t.blob_id)
    .where(_t.state == BlobState.WRITING.value, _t.create_time <= bindparam("before"))
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_GIVE_UP = compiled(
    update(blobs).where(tuple_(_t.workspace_id, _t.blob_id).in_(_FORGOTTEN)).values(state=BlobState.DOOMED.value)
)
_DOOMED = compiled(
    select(_t.workspace_id, _t.blob_id)
    .where(
        _t.state == BlobState.DOOMED.value,
        tuple_(_t.workspace_id, _t.blob_id) > tuple_(bindparam("after_workspace"), bindparam("after_blob")),
    )
    .order_by(_t.workspace_id, _t.blob_id)
    .limit(bindparam("count"))
)
_given = (
    func.unnest(
        bindparam("workspaces", type_=ARRAY(_t.workspace_id.type)), bindparam("blobs", type_=ARRAY(_t.blob_id.type))
    )
    .table_valued("workspace_id", "blob_id")
    .render_derived()
)
_LIVE = compiled(
    select(_t.workspace_id, _t.blob_id)
    .where(
        _t.state == BlobState.LIVE.value,
        tuple_(_t.workspace_id, _t.blob_id) > tuple_(bindparam("after_workspace"), bindparam("after_blob")),
    )
    .order_by(_t.workspace_id, _t.blob_id)
    .limit(bindparam("count"))
)
_LOCK_LIVE = compiled(select(_t.blob_id).where(_by_id, _t.state == BlobState.LIVE.value).with_for_update())
_REPLACE = [
    compiled(
        update(column.table)
        .where(column.table.c.workspace_id == bindparam("workspace"), column == bindparam("blob"))
        .values({column.name: bindparam("replacement")})
    )
    for column in (versions.c.blob_id, upload_parts.c.blob_id, ingestions.c.parsed_blob_id)
]
_REMOVE = compiled(
    delete(blobs).where(
        _t.workspace_id == _given.c.workspace_id,
        _t.blob_id == _given.c.blob_id,
        _t.state == BlobState.DOOMED.value,
    )
)


class BlobRepository:
    """The session's workspace's blobs; the last methods are for a system session, and see those of all."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, workspace_id: UUID, blob_id: UUID, now: datetime) -> None:
        """Insert one whose bytes will be written."""
        self._session.run(_ADD, workspace=workspace_id, blob=blob_id, now=now)

    def keep(self, workspace_id: UUID, blob_id: UUID, size_bytes: int, sha256: str) -> None:
        """Its bytes are there, and something refers to them. Raises ConcurrentUpdate where it was given up."""
        if not self._session.run(_KEEP, workspace=workspace_id, blob=blob_id, size_bytes=size_bytes, sha256=sha256):
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

    def replace(self, workspace_id: UUID, blob_id: UUID, replacement: UUID) -> bool:
        """Have whatever refers to a live one refer to another one, and doom it: whether it was live."""
        if self._session.first(_LOCK_LIVE, _blob, workspace=workspace_id, blob=blob_id) is None:
            return False
        for statement in _REPLACE:
            self._session.run(statement, workspace=workspace_id, blob=blob_id, replacement=replacement)
        self.doom(workspace_id, [blob_id])
        return True

    def give_up(self, before: datetime, count: int) -> int:
        """Doom those that nobody has kept since then, no more than `count`: how many."""
        return self._session.run(_GIVE_UP, before=before, count=count)

    def list_live(self, after: BlobId, count: int) -> list[BlobId]:
        """Live ones behind one, in the order of their ids."""
        return self._session.all(
            _LIVE, BlobId, after_workspace=after.workspace_id, after_blob=after.blob_id, count=count
        )

    def list_doomed(self, after: BlobId, count: int) -> list[BlobId]:
        """Doomed ones behind one, in the order of their ids."""
        return self._session.all(
            _DOOMED, BlobId, after_workspace=after.workspace_id, after_blob=after.blob_id, count=count
        )

    def remove(self, doomed: Sequence[BlobId]) -> None:
        """Delete the rows of doomed ones, whose bytes are gone."""
        self._session.run(
            _REMOVE,
            workspaces=[blob.workspace_id for blob in doomed],
            blobs=[blob.blob_id for blob in doomed],
        )


def _blob(blob_id: UUID) -> UUID:
    return blob_id
