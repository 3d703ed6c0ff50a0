"""What an operator asks about all workspaces together. Each statement reads a small index, or a row a workspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, literal_column, select

from services.documents.model.ingestions import IngestionState
from services.documents.repository.blobs import BlobState
from services.documents.tables import blobs, ingestions, usage
from services.kernel.db import Session, compiled

_i, _b, _u = ingestions.c, blobs.c, usage.c


def _is(column: ColumnElement[str], state: IngestionState | BlobState) -> ColumnElement[bool]:
    """The planner has to see the words of a partial index's predicate."""
    return column == literal_column(f"'{state.value}'")


_UNDER_WAY = compiled(select(_i.state, func.count().label("count")).where(_i.end_time.is_(None)).group_by(_i.state))
_DEAD = compiled(select(func.count().label("count")).where(_is(_i.state, IngestionState.DEAD)))
_DOOMED = compiled(select(func.count().label("count")).where(_is(_b.state, BlobState.DOOMED)))
_WRITING = compiled(
    select(func.count().label("count"), func.min(_b.create_time).label("since")).where(_is(_b.state, BlobState.WRITING))
)
_STORED = compiled(
    select(
        func.coalesce(func.sum(_u.documents), 0).label("documents"),
        func.coalesce(func.sum(_u.version_bytes + _u.upload_bytes), 0).label("stored_bytes"),
    ).where(_u.purge_time.is_(None))
)


@dataclass(frozen=True, slots=True)
class Writing:
    """Blobs that somebody writes, or that nobody has given up yet, and since when the oldest is there."""

    count: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Stored:
    """Documents, and the bytes that count as stored."""

    documents: int
    stored_bytes: int


class TotalsRepository:
    """For a system session, which sees all workspaces."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ingestions(self) -> Mapping[IngestionState, int]:
        """How many are in each state, of those that have not ended well."""
        found = dict(self._session.all(_UNDER_WAY, lambda state, count: (IngestionState(state), count)))
        return found | {IngestionState.DEAD: self._session.first(_DEAD, _number) or 0}

    def doomed(self) -> int:
        """How many blobs are to be deleted."""
        return self._session.first(_DOOMED, _number) or 0

    def writing(self) -> Writing:
        """Blobs that are not kept yet."""
        return self._session.first(_WRITING, Writing) or Writing(0, None)

    def stored(self) -> Stored:
        """What all workspaces store."""
        return self._session.first(_STORED, Stored) or Stored(0, 0)


def _number(count: int) -> int:
    return count
