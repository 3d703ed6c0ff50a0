"""Members, as rows."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, insert, select, tuple_, update

from services.kernel.db import Session, compiled
from services.tenancy.model.roles import OWNER, Catalogue
from services.tenancy.model.workspaces import Member, Membership, Workspace
from services.tenancy.tables import members, roles, workspaces

_FIRST = (datetime.min.replace(tzinfo=UTC), UUID(int=0))

_t = members.c
_COLUMNS = [c for c in members.columns if c.computed is None]
_by_user = and_(_t.workspace_id == bindparam("workspace"), _t.user_id == bindparam("user"))
_ADD = compiled(insert(members).values({c.name: bindparam(c.name) for c in _COLUMNS}))
_GET = compiled(select(*_COLUMNS).where(_by_user))
_SAVE = compiled(
    update(members)
    .where(_by_user)
    .values(role=bindparam("role"), version=bindparam("version"), update_time=bindparam("update_time"))
)
_REMOVE = compiled(delete(members).where(_by_user))
_key = tuple_(_t.create_time, _t.user_id)
_LIST = compiled(
    select(*_COLUMNS)
    .where(
        _t.workspace_id == bindparam("workspace"),
        _key
        > tuple_(bindparam("after_time", type_=_t.create_time.type), bindparam("after_user", type_=_t.user_id.type)),
    )
    .order_by(_t.create_time, _t.user_id)
    .limit(bindparam("count"))
)
_OWNERS = compiled(select(_t.user_id).where(_t.workspace_id == bindparam("workspace"), _t.role == OWNER))
_WORKSPACES_OF = compiled(select(_t.workspace_id).where(_t.user_id == bindparam("user")).order_by(_t.workspace_id))
# The grant of every call that misses the cache: one row, by keys alone.
_MEMBERSHIP = compiled(
    select(
        *workspaces.columns,
        _t.role,
        _t.version.label("member_version"),
        _t.create_time.label("join_time"),
        _t.update_time.label("change_time"),
        roles.c.permissions,
    )
    .select_from(members)
    .join(workspaces, workspaces.c.workspace_id == _t.workspace_id)
    .outerjoin(roles, and_(roles.c.workspace_id == _t.workspace_id, roles.c.role_id == _t.custom_role_id))
    .where(_by_user)
)


class MemberRepository:
    """Members of the session's workspace; in a system session, of any."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, member: Member) -> None:
        """Insert it."""
        self._session.run(
            _ADD,
            workspace_id=member.workspace_id,
            user_id=member.user_id,
            role=member.role,
            version=member.version,
            create_time=member.create_time,
            update_time=member.update_time,
        )

    def get(self, workspace_id: UUID, user_id: UUID) -> Member | None:
        """The member, if the user is one."""
        return self._session.first(_GET, Member, workspace=workspace_id, user=user_id)

    def membership(self, workspace_id: UUID, user_id: UUID, catalogue: Catalogue) -> Membership | None:
        """The member with the workspace and what the role holds."""

        def make(  # one parameter a column
            *,
            role: str,
            member_version: int,
            join_time: datetime,
            change_time: datetime,
            permissions: list[str] | None,
            **workspace: object,
        ) -> Membership:
            held = catalogue.held_by(role)
            return Membership(
                Workspace(**workspace),  # type: ignore[arg-type]  # the columns of the table, by name
                Member(workspace_id, user_id, role, member_version, join_time, change_time),
                frozenset(permissions or ()) if held is None else held,
            )

        return self._session.first(_MEMBERSHIP, make, workspace=workspace_id, user=user_id)

    def save(self, member: Member) -> None:
        """Write its new values."""
        self._session.run(
            _SAVE,
            workspace=member.workspace_id,
            user=member.user_id,
            role=member.role,
            version=member.version,
            update_time=member.update_time,
        )

    def remove(self, member: Member) -> None:
        """Delete it."""
        self._session.run(_REMOVE, workspace=member.workspace_id, user=member.user_id)

    def list_by_join(self, workspace_id: UUID, after: tuple[datetime, UUID] | None, count: int) -> list[Member]:
        """Members, first joined first, after the key given."""
        time, user = after or _FIRST
        return self._session.all(_LIST, Member, workspace=workspace_id, after_time=time, after_user=user, count=count)

    def owners(self, workspace_id: UUID) -> list[UUID]:
        """Every owner's user; to be relied on, read it under the workspace's lock."""
        return self._session.all(_OWNERS, lambda user_id: user_id, workspace=workspace_id)

    def workspaces_of(self, user_id: UUID) -> list[UUID]:
        """Where a user is a member, in the order in which locks are taken."""
        return self._session.all(_WORKSPACES_OF, lambda workspace_id: workspace_id, user=user_id)
