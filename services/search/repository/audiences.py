"""Audiences, as rows: one for each distinct visibility of a workspace's documents."""

from uuid import UUID

from sqlalchemy import and_, bindparam, insert, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text, Uuid

from services.kernel.db import Session, compiled
from services.search.model.facts import EVERYONE, EVERYONE_ID, Audience
from services.search.tables import audiences

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
_SEEN = compiled(
    select(
        _t.audience_id,
        or_(
            _t.roles.contains(bindparam("roles", type_=ARRAY(Text))),
            _t.members.contains(bindparam("members", type_=ARRAY(Uuid))),
        ).label("seen"),
    )
    .where(and_(_in_workspace))
    .order_by(_t.audience_id)
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
        found = self._session.all(
            _SEEN,
            lambda audience_id, seen: (int(audience_id), bool(seen)),
            workspace=workspace_id,
            roles=[role],
            members=[user_id],
        )
        if all(seen for _, seen in found):
            return None
        return (EVERYONE_ID, *(audience_id for audience_id, seen in found if seen))
