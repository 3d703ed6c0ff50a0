"""Indexes, as rows."""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import bindparam, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel.db import Session, compiled
from services.search.errors import IndexPurged
from services.search.model.index import EmbedderKind, Index
from services.search.model.names import INDEX
from services.search.tables import indexes, queries

_t = indexes.c
_by_id = _t.workspace_id == bindparam("workspace")
_SETTINGS = ("embedder", "log_queries", "version")
_REBUILD = ("rebuilding", "rebuilt_no", "rebuild_end", "generation")
_COUNTS = tuple(
    column.name
    for column in indexes.columns
    if column.name not in (*_SETTINGS, *_REBUILD, "workspace_id", "create_time", "purge_time")
)
_GET = compiled(select(indexes).where(_by_id, _t.purge_time.is_(None)))
_LOCK = compiled(select(indexes).where(_by_id).with_for_update())
_ADD = compiled(
    upsert(indexes)
    .values({column.name: bindparam(column.name) for column in indexes.columns})
    .on_conflict_do_nothing()
    .inline()
)
_SAVE = compiled(update(indexes).where(_by_id).values({name: bindparam(name) for name in _COUNTS}))
_SET_UP = compiled(update(indexes).where(_by_id).values({name: bindparam(name) for name in _SETTINGS}))
# What is published from now on is read as it is to be.
_WANT_REBUILD = compiled(
    update(indexes)
    .where(_by_id)
    .values(rebuilding=True, rebuilt_no=0, rebuild_end=_t.next_chunk_no, generation=_t.generation + 1)
)
_ADVANCE = compiled(update(indexes).where(_by_id).values(rebuilt_no=bindparam("rebuilt")))
_END_REBUILD = compiled(update(indexes).where(_by_id).values(rebuilding=False, rebuilt_no=_t.rebuild_end))
_PURGED = compiled(select(_t.workspace_id).where(_by_id, _t.purge_time.is_not(None)))
_PURGE = compiled(
    update(indexes)
    .where(_by_id)
    .values(
        revision=_t.revision + 1,
        purge_time=func.coalesce(_t.purge_time, bindparam("now")),
        **dict.fromkeys(("document_count", "chunk_count", "term_count"), 0),
        languages=Jsonb({}),
    )
)
_LONG_PURGED = compiled(
    select(_t.workspace_id)
    .where(_t.purge_time < bindparam("before"))
    .order_by(_t.workspace_id)
    .limit(bindparam("count"))
)
_UNLOGGED = compiled(
    select(_t.workspace_id)
    .where(~_t.log_queries, exists().where(queries.c.workspace_id == _t.workspace_id))
    .order_by(_t.workspace_id)
)
_REMOVE = compiled(delete(indexes).where(_by_id, _t.purge_time < bindparam("before")))


class IndexRepository:
    """The index of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, workspace_id: UUID) -> Index | None:
        """The index; None where nothing was published or set up yet, and where all was purged."""
        return self._session.first(_GET, _index, workspace=workspace_id)

    def require(self, workspace_id: UUID) -> None:
        """Let pass what is not purged. Raises IndexPurged."""
        if self._session.first(_PURGED, lambda workspace_id: workspace_id, workspace=workspace_id) is not None:
            raise IndexPurged(INDEX.format(workspace=workspace_id))

    def lock(self, workspace_id: UUID, now: datetime) -> Index:
        """The index, until the commit: nobody else publishes, deletes or swaps meanwhile. It is made where it lacks.

        Raises IndexPurged.
        """
        index = self._lock(workspace_id, now)
        if index.purge_time is not None:
            raise IndexPurged(index.name)
        return index

    def purge(self, workspace_id: UUID, now: datetime) -> None:
        """Have nothing published here from now on, and wait for those who are at it."""
        self._lock(workspace_id, now)
        self._session.run(_PURGE, workspace=workspace_id, now=now)

    def long_purged(self, before: datetime, count: int) -> list[UUID]:
        """Workspaces that were purged before then; in a system session."""
        return self._session.all(_LONG_PURGED, lambda workspace_id: workspace_id, before=before, count=count)

    def unlogged(self) -> list[UUID]:
        """Workspaces that have queries in their log and want none; in a system session."""
        return self._session.all(_UNLOGGED, lambda workspace_id: workspace_id)

    def remove(self, workspace_id: UUID, before: datetime) -> None:
        """Delete it, if it was purged before then."""
        self._session.run(_REMOVE, workspace=workspace_id, before=before)

    def save(self, index: Index) -> None:
        """Write what was counted and given out."""
        values = _values(index)
        self._session.run(_SAVE, workspace=index.workspace_id, **{name: values[name] for name in _COUNTS})

    def take_segment_id(self, workspace_id: UUID, now: datetime) -> int:
        """The id of a new segment. The index is held until the commit. Raises IndexPurged."""
        index = self.lock(workspace_id, now)
        self.save(replace(index, next_segment_id=index.next_segment_id + 1))
        return index.next_segment_id

    def set_up(self, index: Index) -> None:
        """Write its settings."""
        values = asdict(index)
        self._session.run(_SET_UP, workspace=index.workspace_id, **{name: values[name] for name in _SETTINGS})

    def want_rebuild(self, workspace_id: UUID) -> None:
        """All passages that there are by now are to be read anew."""
        self._session.run(_WANT_REBUILD, workspace=workspace_id)

    def advance_rebuild(self, workspace_id: UUID, rebuilt_no: int) -> None:
        """Those below this number are."""
        self._session.run(_ADVANCE, workspace=workspace_id, rebuilt=rebuilt_no)

    def end_rebuild(self, workspace_id: UUID) -> None:
        """All are."""
        self._session.run(_END_REBUILD, workspace=workspace_id)

    def _lock(self, workspace_id: UUID, now: datetime) -> Index:
        found = self._session.first(_LOCK, _index, workspace=workspace_id)
        while found is None:
            self._session.run(_ADD, **_values(Index.empty(workspace_id, now)))
            found = self._session.first(_LOCK, _index, workspace=workspace_id)
        return found


def _values(index: Index) -> dict[str, Any]:  # the columns of the table, by name
    return asdict(index) | {"languages": Jsonb(dict(index.languages))}


def _index(*, embedder: str, **columns: Any) -> Index:  # the columns of the table, by name
    return Index(embedder=EmbedderKind(embedder), **columns)
