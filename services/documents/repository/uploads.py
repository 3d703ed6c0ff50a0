"""Uploads and their parts, as rows."""

import zlib
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from services.documents.model.uploads import Part, Upload
from services.documents.repository.visibility import columns_of, visibility_of
from services.documents.tables import upload_parts, uploads
from services.kernel.db import Session, compiled

# Locks of who uploads are two integers, `UPLD` and a bucket of users.
LOCK_CLASS = 0x55504C44
_BUCKETS = 2**31

_t, _p = uploads.c, upload_parts.c

_by_id = and_(_t.workspace_id == bindparam("workspace"), _t.upload_id == bindparam("upload"))
_parts = and_(_p.workspace_id == bindparam("workspace"), _p.upload_id == bindparam("upload"))
_ADD = compiled(insert(uploads).values({column.name: bindparam(column.name) for column in uploads.columns}))
_GET = compiled(select(uploads).where(_by_id))
_LOCK = compiled(select(uploads).where(_by_id).with_for_update())
_RECEIVE = compiled(update(uploads).where(_by_id).values(received_bytes=bindparam("received_bytes")))
_REMOVE = compiled(delete(uploads).where(_by_id))
_EXCLUDE = compiled(select(func.pg_advisory_xact_lock(LOCK_CLASS, bindparam("bucket")).label("locked")))
_COUNT = compiled(
    select(func.count().label("count"))
    .select_from(uploads)
    .where(
        _t.workspace_id == bindparam("workspace"),
        _t.author_id == bindparam("author"),
        _t.expire_time > bindparam("now"),
    )
)
_ADD_PART = compiled(
    insert(upload_parts).values({column.name: bindparam(column.name) for column in upload_parts.columns})
)
_GET_PART = compiled(select(upload_parts).where(_parts, _p.start_byte == bindparam("start_byte")))
_PARTS = compiled(select(upload_parts).where(_parts).order_by(_p.start_byte))
_EXPIRED = compiled(
    select(uploads)
    .where(_t.expire_time <= bindparam("now"))
    .order_by(_t.expire_time)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)


class UploadRepository:
    """The session's workspace's uploads; a system session sees those of all."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, upload: Upload) -> None:
        """Insert it."""
        self._session.run(
            _ADD,
            workspace_id=upload.workspace_id,
            upload_id=upload.upload_id,
            display_name=upload.display_name,
            tags=list(upload.tags),
            metadata=Jsonb(dict(upload.metadata)),
            size_bytes=upload.size_bytes,
            received_bytes=upload.received_bytes,
            author_id=upload.author_id,
            create_time=upload.create_time,
            expire_time=upload.expire_time,
            **columns_of(upload.visibility),
        )

    def get(self, workspace_id: UUID, upload_id: UUID) -> Upload | None:
        """The upload, whoever's it is."""
        return self._session.first(_GET, _upload, workspace=workspace_id, upload=upload_id)

    def lock(self, workspace_id: UUID, upload_id: UUID) -> Upload | None:
        """The same, until the commit."""
        return self._session.first(_LOCK, _upload, workspace=workspace_id, upload=upload_id)

    def count_of(self, workspace_id: UUID, author_id: UUID, now: datetime) -> int:
        """How many this user has under way. Nobody else begins one of theirs until the commit."""
        self._session.first(_EXCLUDE, lambda locked: locked, bucket=zlib.crc32(author_id.bytes) % _BUCKETS)
        return self._session.first(_COUNT, lambda count: count, workspace=workspace_id, author=author_id, now=now) or 0

    def receive(self, upload: Upload, part: Part) -> None:
        """Add a part to an upload that is locked, and write how far it is with it."""
        self._session.run(_ADD_PART, **asdict(part))
        self._session.run(
            _RECEIVE,
            workspace=upload.workspace_id,
            upload=upload.upload_id,
            received_bytes=upload.received_bytes,
        )

    def part_at(self, upload: Upload, start_byte: int) -> Part | None:
        """The part that begins there."""
        return self._session.first(
            _GET_PART, Part, workspace=upload.workspace_id, upload=upload.upload_id, start_byte=start_byte
        )

    def parts_of(self, upload: Upload) -> list[Part]:
        """All of its parts, in order."""
        return self._session.all(_PARTS, Part, workspace=upload.workspace_id, upload=upload.upload_id)

    def remove(self, workspace_id: UUID, upload_id: UUID) -> None:
        """Delete it, with the rows of its parts."""
        self._session.run(_REMOVE, workspace=workspace_id, upload=upload_id)

    def lock_expired(self, now: datetime, count: int) -> list[Upload]:
        """Uploads whose time is over, no more than `count`, until the commit."""
        return self._session.all(_EXPIRED, _upload, now=now, count=count)


def _upload(
    *,
    tags: list[str],
    visibility: str | None,
    visible_roles: list[str],
    visible_members: list[UUID],
    **columns: Any,  # the columns of the table, by name
) -> Upload:
    return Upload(
        tags=tuple(tags),
        visibility=visibility_of(visibility, visible_roles, visible_members) if visibility is not None else None,
        **columns,
    )
