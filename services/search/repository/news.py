"""News of documents that are not here, as rows."""

from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import and_, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel.db import Session, compiled
from services.search.model.facts import News, Telling
from services.search.repository.batches import delete_some
from services.search.tables import early_news

_t = early_news.c
_KEY = ("workspace_id", "document_id")
_by_id = and_(_t.workspace_id == bindparam("workspace"), _t.document_id == bindparam("document"))
_GET = compiled(select(*(c for c in early_news.columns if c.name not in _KEY)).where(_by_id))
_written = upsert(early_news).values({column.name: bindparam(column.name) for column in early_news.columns})
_PUT = compiled(
    _written.on_conflict_do_update(
        index_elements=_KEY,
        set_={column.name: _written.excluded[column.name] for column in early_news.columns if column.name not in _KEY},
    ).inline()
)
_REMOVE = compiled(delete(early_news).where(_by_id))
_SWEEP = delete_some(early_news, _t.news_time < bindparam("before"))
_NOTHING = Telling("", (), {}, False, (), ())


class NewsRepository:
    """What was heard of documents of the session's workspace that are not here."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, workspace_id: UUID, document_id: UUID) -> News | None:
        """The news of a document."""
        return self._session.first(_GET, _news, workspace=workspace_id, document=document_id)

    def put(self, workspace_id: UUID, document_id: UUID, news: News) -> None:
        """Keep it, in the place of what was heard before."""
        telling = news.telling or _NOTHING
        self._session.run(
            _PUT,
            workspace_id=workspace_id,
            document_id=document_id,
            news_time=news.time,
            revision=news.revision,
            deleted=news.telling is None,
            display_name=telling.display_name,
            tags=list(telling.tags),
            metadata=Jsonb(telling.metadata),
            everyone=telling.everyone,
            roles=list(telling.roles),
            members=list(telling.members),
        )

    def remove(self, workspace_id: UUID, document_id: UUID) -> None:
        """It is no news any more."""
        self._session.run(_REMOVE, workspace=workspace_id, document=document_id)

    def sweep(self, before: datetime, count: int) -> int:
        """Delete what was heard before then, of any workspace, at most so much: how much; in a system session."""
        return self._session.run(_SWEEP, before=before, count=count)


def _news(
    *,
    news_time: datetime,
    revision: int,
    deleted: bool,
    display_name: str,
    tags: list[str],
    metadata: dict[str, str],
    everyone: bool,
    roles: list[str],
    members: list[UUID],
) -> News:
    telling = Telling(display_name, tuple(tags), metadata, everyone, tuple(roles), tuple(members))
    return News(news_time, revision, None if deleted else telling)
