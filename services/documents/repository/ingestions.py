"""Ingestions, as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    exists,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from services.documents.model.ingestions import (
    STATES_BY_WIRE_NAME,
    Ingestion,
    IngestionAttempt,
    IngestionReason,
    IngestionState,
)
from services.documents.model.names import DOCUMENT
from services.documents.model.visibility import Viewer
from services.documents.repository.visibility import SEEN, looking
from services.documents.tables import documents, ingestions
from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import TIMESTAMP, Field, Fields, ListQuery, Part, one_of, resource
from services.kernel.jobs.tables import LIVE, jobs
from services.kernel.paging import Page

_t = ingestions.c
_d = documents.c
_REASONS = {reason.wire_name: reason.value for reason in IngestionReason}

FIELDS = Fields(
    Field("document", _t.document_id, resource(DOCUMENT)),
    Field("state", _t.state, one_of(STATES_BY_WIRE_NAME)),
    Field("reason", _t.reason, one_of(_REASONS)),
    Field("create_time", _t.create_time, TIMESTAMP, sortable=True),
    Field("update_time", _t.update_time, TIMESTAMP),
    id=_t.ingestion_id,
    default_order="create_time desc",
)

_FIXED = ("workspace_id", "ingestion_id", "document_id", "document_version", "create_time")
_MOVING = tuple(column.name for column in ingestions.columns if column.name not in _FIXED)

_in_workspace = _t.workspace_id == bindparam("workspace")
_by_id = and_(_in_workspace, _t.ingestion_id == bindparam("ingestion"))
_of_document = and_(_in_workspace, _t.document_id == bindparam("document"))
_with_document = and_(_d.workspace_id == _t.workspace_id, _d.document_id == _t.document_id)
_ADD = compiled(insert(ingestions).values({name: bindparam(name) for name in (*_FIXED, *_MOVING)}))
_GET = compiled(select(ingestions).where(_by_id))
_LOCK = compiled(select(ingestions).where(_by_id).with_for_update())
_SAVE = compiled(update(ingestions).where(_by_id).values({name: bindparam(name) for name in _MOVING}))
_LOCK_UNFINISHED = compiled(select(ingestions).where(_of_document, _t.end_time.is_(None)).with_for_update())
_HAS_PARSED = compiled(select(_t.parsed_blob_id).where(_of_document, _t.parsed_blob_id.is_not(None)))
_FORGET_PARSED = compiled(
    update(ingestions).where(_of_document, _t.parsed_blob_id.is_not(None)).values(parsed_blob_id=None)
)
# The planner has to see the words of a partial index's predicate.
_DEAD: ColumnElement[bool] = literal_column("ingestions.state = 'dead'")
_since = cast(bindparam("since"), _t.end_time.type)
_reasons = cast(bindparam("reasons"), ARRAY(Text))
# The newest of their documents alone. A document is locked before its ingestion.
_LOCK_DEAD = compiled(
    select(ingestions)
    .join(documents, and_(_with_document, _d.ingestion_id == _t.ingestion_id))
    .where(
        _in_workspace,
        SEEN,
        _DEAD,
        or_(_since.is_(None), _t.end_time >= _since),
        or_(_reasons.is_(None), _t.reason == any_(_reasons)),
    )
    .order_by(_t.end_time, _t.ingestion_id)
    .limit(bindparam("count"))
    .with_for_update(of=[documents, ingestions], key_share=True)
)
_job = exists(jobs.c.id).where(
    jobs.c.lane == _t.workspace_id,
    jobs.c.kind == bindparam("kind"),
    jobs.c.unique_key == cast(_t.ingestion_id, Text) + "/" + cast(_t.run, Text),
    LIVE,
)
_IDLE = compiled(
    select(_t.workspace_id, _t.ingestion_id)
    .where(_t.end_time.is_(None), _t.update_time <= bindparam("before"), ~_job)
    .order_by(_t.update_time)
    .limit(bindparam("count"))
)


@dataclass(frozen=True, slots=True)
class IngestionId:
    """Which ingestion."""

    workspace_id: UUID
    ingestion_id: UUID


@lru_cache(maxsize=256)
def _page(part: Part) -> Statement:
    statement = select(ingestions).join(documents, _with_document).where(_in_workspace, SEEN)
    return compiled(part.narrow(statement).limit(bindparam("count")))


class IngestionRepository:
    """The session's workspace's ingestions; `list_idle` is for a system session, and sees those of all."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, ingestion: Ingestion) -> None:
        """Insert it."""
        fixed = {name: getattr(ingestion, name) for name in _FIXED}
        self._session.run(_ADD, **fixed, **_moving(ingestion))

    def get(self, workspace_id: UUID, ingestion_id: UUID) -> Ingestion | None:
        """The ingestion, of whichever document."""
        return self._session.first(_GET, _ingestion, workspace=workspace_id, ingestion=ingestion_id)

    def lock(self, workspace_id: UUID, ingestion_id: UUID) -> Ingestion | None:
        """The same, until the commit; its document is locked before."""
        return self._session.first(_LOCK, _ingestion, workspace=workspace_id, ingestion=ingestion_id)

    def lock_unfinished(self, workspace_id: UUID, document_id: UUID) -> list[Ingestion]:
        """What is under way for a document that is locked, until the commit."""
        return self._session.all(_LOCK_UNFINISHED, _ingestion, workspace=workspace_id, document=document_id)

    def lock_dead(
        self,
        workspace_id: UUID,
        viewer: Viewer,
        *,
        since: datetime | None,
        reasons: Sequence[IngestionReason],
        count: int,
    ) -> list[Ingestion]:
        """Dead ones, each the newest of a document that the viewer may see, the oldest first, until the commit.

        Those that died since then, if that is given, and for one of the reasons, if any are.
        """
        return self._session.all(
            _LOCK_DEAD,
            _ingestion,
            workspace=workspace_id,
            since=since,
            reasons=[reason.value for reason in reasons] or None,
            count=count,
            **looking(viewer),
        )

    def save(self, ingestion: Ingestion) -> None:
        """Write what became of it."""
        self._session.run(
            _SAVE, workspace=ingestion.workspace_id, ingestion=ingestion.ingestion_id, **_moving(ingestion)
        )

    def list_page(self, workspace_id: UUID, wanted: ListQuery, page: Page, viewer: Viewer) -> list[Ingestion]:
        """A page of those that are asked for, of documents that the viewer may see, the newest first."""
        part = wanted.part(page)
        return self._session.all(
            _page(part), _ingestion, workspace=workspace_id, count=page.count, **looking(viewer), **part.values
        )

    def forget_parsed(self, workspace_id: UUID, document_id: UUID) -> list[UUID]:
        """Let go of what was parsed of a document that is locked: the blobs that nothing refers to from now on."""
        found = self._session.all(_HAS_PARSED, _blob, workspace=workspace_id, document=document_id)
        if found:
            self._session.run(_FORGET_PARSED, workspace=workspace_id, document=document_id)
        return found

    def list_idle(self, kind: str, before: datetime, count: int) -> list[IngestionId]:
        """Some that are under way and have not moved since then, and that no live job of this kind will move."""
        return self._session.all(_IDLE, IngestionId, kind=kind, before=before, count=count)


def _moving(ingestion: Ingestion) -> dict[str, object]:
    """The columns of _MOVING."""
    return {name: getattr(ingestion, name) for name in _MOVING} | {
        "state": ingestion.state.value,
        "stage": ingestion.stage.value,
        "reason": ingestion.reason.value,
        "warnings": list(ingestion.warnings),
        "attempts": Jsonb([_stored(attempt) for attempt in ingestion.attempts]),
    }


def _stored(attempt: IngestionAttempt) -> dict[str, object]:
    return {
        "number": attempt.number,
        "fence": attempt.fence,
        "start_time": attempt.start_time.isoformat(),
        "stage": attempt.stage.value,
        "reason": attempt.reason.value,
        "message": attempt.message,
        "end_time": attempt.end_time.isoformat() if attempt.end_time is not None else None,
    }


def _attempt(*, start_time: str, stage: str, reason: str, end_time: str | None, **others: Any) -> IngestionAttempt:
    return IngestionAttempt(
        start_time=datetime.fromisoformat(start_time),
        stage=IngestionState(stage),
        reason=IngestionReason(reason),
        end_time=datetime.fromisoformat(end_time) if end_time is not None else None,
        **others,  # as `_stored` wrote them
    )


def _ingestion(
    *,
    state: str,
    stage: str,
    reason: str,
    warnings: list[str],
    attempts: list[dict[str, Any]],
    **columns: Any,  # the columns of the table, by name
) -> Ingestion:
    return Ingestion(
        state=IngestionState(state),
        stage=IngestionState(stage),
        reason=IngestionReason(reason),
        warnings=tuple(warnings),
        attempts=tuple(_attempt(**attempt) for attempt in attempts),
        **columns,
    )


def _blob(parsed_blob_id: UUID) -> UUID:
    return parsed_blob_id
