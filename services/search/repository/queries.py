"""The log of queries, as rows. They may hold personal data: what people look for says who they are."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, exists, func, insert, select

from services.kernel.db import Session, compiled
from services.search.repository.batches import delete_some
from services.search.tables import indexes, queries

_t = queries.c
# One statement. Only an index that was set up so is without a log; one that is not there yet has it. A crash of the
# database may lose the last of the log, in exchange for which no search waits for its disk.
_ADD = compiled(
    insert(queries)
    .from_select(
        [column.name for column in queries.columns],
        select(*(bindparam(column.name, type_=column.type) for column in queries.columns)).where(
            and_(
                func.set_config("synchronous_commit", "off", True) == "off",
                ~exists().where(indexes.c.workspace_id == bindparam("workspace_id"), ~indexes.c.log_queries),
            )
        ),
    )
    .inline()
)
_REMOVE = delete_some(queries, _t.workspace_id == bindparam("workspace"))
_SWEEP = delete_some(queries, _t.create_time < bindparam("before"))


@dataclass(frozen=True, slots=True)
class LoggedQuery:
    """A search as it is kept. `hit_count` is how many passages were ranked; `user_id` of an API key its creator's."""

    workspace_id: UUID
    query_id: UUID
    query: str
    mode: str
    filter: str
    corrected_query: str
    hit_count: int
    milliseconds: int
    user_id: UUID
    create_time: datetime


class QueryRepository:
    """The log of queries of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, query: LoggedQuery) -> None:
        """Keep it, unless the workspace keeps no queries."""
        self._session.run(_ADD, **asdict(query))

    def remove_some(self, workspace_id: UUID, count: int) -> bool:
        """Delete some, at most so many; False where none were left."""
        return self._session.run(_REMOVE, workspace=workspace_id, count=count) > 0

    def sweep(self, before: datetime, count: int) -> int:
        """Delete what was asked before then, in any workspace, at most so much: how much; in a system session."""
        return self._session.run(_SWEEP, before=before, count=count)
