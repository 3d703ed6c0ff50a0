"""Audiences, as rows: one for each distinct visibility of a workspace's documents."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Integer, any_, bindparam, delete, exists, func, insert, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.types import Text, Uuid

from services.kernel.db import Session, compiled
from services.search.model.facts import EVERYONE, EVERYONE_ID, Audience
from services.search.model.index import Counts
from services.search.tables import audiences, documents

_t = audiences.c
_in_workspace = _t.workspace_id == bindparam("workspace")
_FIND = compiled(
    select(_t.audience_id).where(
        _in_workspace,
        _t.roles == bindparam("roles", type_=ARRAY(Text)),
        _t.members == bindparam("members", type_=ARRAY(Uuid)),
    )
)
_ADD = compiled(insert(audiences).values({column.name: bindparam(column.name) for column in audiences.columns}))
_seen = or_(
    _t.roles.contains(bindparam("roles", type_=ARRAY(Text))),
    _t.members.contains(bindparam("members", type_=ARRAY(Uuid))),
)
# Of the others it is enough to know that there are some.
_SEEN = compiled(
    select(
        func.array_agg(aggregate_order_by(_t.audience_id, _t.audience_id)).filter(_seen).label("seen"),
        func.count().label("total"),
    ).where(_in_workspace)
)
_REMOVE_EMPTY = compiled(
    delete(audiences).where(
        _in_workspace,
        _t.audience_id == bindparam("audience"),
        ~exists().where(documents.c.workspace_id == _t.workspace_id, documents.c.audience_id == _t.audience_id),
    )
)


_COUNTS = compiled(
    select(
        documents.c.language,
        func.count().label("documents"),
        func.sum(documents.c.chunk_count).label("passages"),
        func.max(documents.c.update_time).label("update_time"),
    )
    .where(
        documents.c.workspace_id == bindparam("workspace"),
        documents.c.audience_id == any_(bindparam("audiences", type_=ARRAY(Integer))),
    )
    .group_by(documents.c.language)
    .order_by(func.count().desc(), documents.c.language)
)


class AudienceRepository:
    """The audiences of the session's workspace. Everyone is one without a row."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, workspace_id: UUID, audience: Audience) -> int | None:
        """Its number; None where no document has had it yet."""
        if audience == EVERYONE:
            return EVERYONE_ID
        return self._session.first(
            _FIND,
            lambda audience_id: audience_id,
            workspace=workspace_id,
            roles=list(audience.roles),
            members=list(audience.members),
        )

    def add(self, workspace_id: UUID, audience_id: int, audience: Audience) -> None:
        """Insert it."""
        self._session.run(
            _ADD,
            workspace_id=workspace_id,
            audience_id=audience_id,
            roles=list(audience.roles),
            members=list(audience.members),
        )

    def seen_by(self, workspace_id: UUID, user_id: UUID, role: str) -> tuple[int, ...] | None:
        """The audiences that somebody with this role belongs to; None: to all that there are."""
        seen, total = self._session.first(
            _SEEN,
            lambda seen, total: (tuple(seen or ()), int(total)),
            workspace=workspace_id,
            roles=[role],
            members=[user_id],
        ) or ((), 0)
        return None if len(seen) == total else (EVERYONE_ID, *seen)

    def counts(self, workspace_id: UUID, audiences: Sequence[int]) -> Counts:
        """What these audiences see of the index."""
        rows = self._session.all(
            _COUNTS,
            lambda language, documents, passages, update_time: (language, documents, passages, update_time),
            workspace=workspace_id,
            audiences=list(audiences),
        )
        return Counts(
            sum(documents for _, documents, _, _ in rows),
            sum(passages for _, _, passages, _ in rows),
            tuple(language for language, *_ in rows if language),
            max((update_time for *_, update_time in rows), default=None),
        )

    def remove_empty(self, workspace_id: UUID, audience_id: int) -> None:
        """Delete it where no document has it any more. Whoever changes documents' audiences holds the index."""
        if audience_id != EVERYONE_ID:
            self._session.run(_REMOVE_EMPTY, workspace=workspace_id, audience=audience_id)
