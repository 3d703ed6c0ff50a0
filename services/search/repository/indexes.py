"""Indexes, as rows."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel.db import Session, compiled
from services.search.model.index import EmbedderKind, Index
from services.search.tables import documents, indexes

_t = indexes.c
_by_id = _t.workspace_id == bindparam("workspace")
_SETTINGS = ("embedder", "log_queries", "version")
_COUNTS = tuple(
    column.name
    for column in indexes.columns
    if column.name not in (*_SETTINGS, "workspace_id", "create_time", "rebuilding")
)
_GET = compiled(select(indexes).where(_by_id))
_LOCK = compiled(select(indexes).where(_by_id).with_for_update())
_ADD = compiled(
    upsert(indexes)
    .values({column.name: bindparam(column.name) for column in indexes.columns})
    .on_conflict_do_nothing()
    .inline()
)
_SAVE = compiled(update(indexes).where(_by_id).values({name: bindparam(name) for name in _COUNTS}))
_SET_UP = compiled(update(indexes).where(_by_id).values({name: bindparam(name) for name in _SETTINGS}))
_REBUILDING = compiled(update(indexes).where(_by_id).values(rebuilding=bindparam("rebuilding")))
_LANGUAGES = compiled(
    select(documents.c.language)
    .where(documents.c.workspace_id == bindparam("workspace"), documents.c.language != "")
    .group_by(documents.c.language)
    .order_by(func.count().desc(), documents.c.language)
)


class IndexRepository:
    """The index of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, workspace_id: UUID) -> Index | None:
        """The index; None where nothing was published or set up yet."""
        return self._session.first(_GET, _index, workspace=workspace_id)

    def lock(self, workspace_id: UUID, now: datetime) -> Index:
        """The index, until the commit: nobody else publishes, deletes or swaps meanwhile. It is made where it lacks."""
        found = self._session.first(_LOCK, _index, workspace=workspace_id)
        while found is None:
            self._session.run(_ADD, **asdict(Index.empty(workspace_id, now)))
            found = self._session.first(_LOCK, _index, workspace=workspace_id)
        return found

    def save(self, index: Index) -> None:
        """Write what was counted and given out."""
        values = asdict(index)
        self._session.run(_SAVE, workspace=index.workspace_id, **{name: values[name] for name in _COUNTS})

    def set_up(self, index: Index) -> None:
        """Write its settings."""
        values = asdict(index)
        self._session.run(_SET_UP, workspace=index.workspace_id, **{name: values[name] for name in _SETTINGS})

    def want_rebuild(self, workspace_id: UUID, *, rebuilding: bool) -> None:
        """Write whether it is to be built anew."""
        self._session.run(_REBUILDING, workspace=workspace_id, rebuilding=rebuilding)

    def languages(self, workspace_id: UUID) -> Sequence[str]:
        """Those of its documents, the most frequent first."""
        return self._session.all(_LANGUAGES, lambda language: language, workspace=workspace_id)


def _index(*, embedder: str, **columns: Any) -> Index:  # the columns of the table, by name
    return Index(embedder=EmbedderKind(embedder), **columns)
