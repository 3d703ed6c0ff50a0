"""What workspaces store, as rows of numbers."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from services.documents.model.usage import Usage
from services.documents.tables import usage
from services.kernel.db import Session, compiled

_t = usage.c
_AMOUNTS = ("documents", "version_bytes", "upload_bytes")

_by_id = and_(_t.workspace_id == bindparam("workspace"), _t.purge_time.is_(None))
_GET = compiled(select(*(_t[name] for name in _AMOUNTS)).where(_by_id))
_new = insert(usage).values({name: bindparam(name) for name in ("workspace_id", *_AMOUNTS)})
_TAKE = compiled(
    _new.on_conflict_do_update(
        index_elements=["workspace_id"],
        set_={name: _t[name] + _new.excluded[name] for name in _AMOUNTS},
        where=_t.purge_time.is_(None),
    ).returning(*(_t[name] for name in _AMOUNTS))
)
_FREE = compiled(update(usage).where(_by_id).values({name: _t[name] - bindparam(name) for name in _AMOUNTS}))
_PURGE = compiled(
    insert(usage)
    .values(dict.fromkeys(_AMOUNTS, 0) | {name: bindparam(name) for name in ("workspace_id", "purge_time")})
    .on_conflict_do_update(
        index_elements=["workspace_id"],
        set_={"purge_time": bindparam("purge_time")},
        where=_t.purge_time.is_(None),
    )
)
_PURGED = compiled(select(_t.workspace_id).where(_t.purge_time.is_not(None)).order_by(_t.purge_time))
_FORGET = compiled(delete(usage).where(_t.purge_time <= bindparam("before")))


class UsageRepository:
    """What the session's workspace stores; the last methods are for a system session, and see all workspaces.

    The row is the last that a commit locks, and is held no longer than it has to be: all who upload wait for it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, workspace_id: UUID) -> Usage:
        """What it stores; of one that is purged, nothing."""
        return self._session.first(_GET, Usage, workspace=workspace_id) or Usage()

    def take(self, workspace_id: UUID, more: Usage) -> Usage | None:
        """Add to it, until the commit: what it stores then. None where the workspace is purged."""
        return self._session.first(_TAKE, Usage, workspace_id=workspace_id, **asdict(more))

    def free(self, workspace_id: UUID, less: Usage) -> None:
        """Take away from it, until the commit; nothing of one that is purged."""
        self._session.run(_FREE, workspace=workspace_id, **asdict(less))

    def purge(self, workspace_id: UUID, now: datetime) -> None:
        """Take nothing for it any more, from the commit on."""
        self._session.run(_PURGE, workspace_id=workspace_id, purge_time=now)

    def list_purged(self) -> list[UUID]:
        """The workspaces of which something may be left, the first that was purged first."""
        return self._session.all(_PURGED, lambda workspace_id: workspace_id)

    def forget(self, before: datetime) -> None:
        """Delete the rows of those that were purged until then."""
        self._session.run(_FORGET, before=before)
