"""Custom roles, as rows."""

from datetime import datetime
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import and_, bindparam, delete, exists, func, insert, select, update

from services.kernel.db import Session, compiled
from services.tenancy.errors import RoleNameTaken
from services.tenancy.model.roles import Role
from services.tenancy.tables import invites, members, roles

_FIRST = UUID(int=0)

_t = roles.c
_by_id = and_(_t.workspace_id == bindparam("workspace"), _t.role_id == bindparam("role"))
_ADD = compiled(insert(roles).values({c.name: bindparam(c.name) for c in roles.columns}))
_GET = compiled(select(roles).where(_by_id))
_SAVE = compiled(
    update(roles)
    .where(_by_id)
    .values(
        display_name=bindparam("display_name"),
        description=bindparam("description"),
        permissions=bindparam("permissions"),
        version=bindparam("version"),
        update_time=bindparam("update_time"),
    )
)
_REMOVE = compiled(delete(roles).where(_by_id))
_LIST = compiled(
    select(roles)
    .where(_t.workspace_id == bindparam("workspace"), _t.role_id > bindparam("after"))
    .order_by(_t.role_id)
    .limit(bindparam("count"))
)
_COUNT = compiled(
    select(func.count().label("count")).select_from(roles).where(_t.workspace_id == bindparam("workspace"))
)
_has_members = exists().where(members.c.workspace_id == _t.workspace_id, members.c.custom_role_id == _t.role_id)
_has_invites = exists().where(invites.c.workspace_id == _t.workspace_id, invites.c.pending_role_id == _t.role_id)
_IN_USE = compiled(select(_t.role_id).where(_by_id, _has_members | _has_invites))


class RoleRepository:
    """The session's workspace's own roles. Display names are unique in a workspace, whatever their case."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, role: Role) -> None:
        """Insert it. Raises RoleNameTaken."""
        try:
            self._session.run(
                _ADD,
                workspace_id=role.workspace_id,
                role_id=UUID(role.role_id),
                display_name=role.display_name,
                description=role.description,
                permissions=sorted(role.permissions),
                version=role.version,
                create_time=role.create_time,
                update_time=role.update_time,
            )
        except UniqueViolation:
            raise RoleNameTaken(role.display_name) from None

    def get(self, workspace_id: UUID, role_id: UUID) -> Role | None:
        """The custom role."""
        return self._session.first(_GET, _role, workspace=workspace_id, role=role_id)

    def save(self, role: Role) -> None:
        """Write its new values. Raises RoleNameTaken."""
        try:
            self._session.run(
                _SAVE,
                workspace=role.workspace_id,
                role=UUID(role.role_id),
                display_name=role.display_name,
                description=role.description,
                permissions=sorted(role.permissions),
                version=role.version,
                update_time=role.update_time,
            )
        except UniqueViolation:
            raise RoleNameTaken(role.display_name) from None

    def remove(self, role: Role) -> None:
        """Delete it; it must not be in use."""
        self._session.run(_REMOVE, workspace=role.workspace_id, role=UUID(role.role_id))

    def list_by_id(self, workspace_id: UUID, after: UUID | None, count: int) -> list[Role]:
        """Custom roles, oldest first, after the one named."""
        return self._session.all(_LIST, _role, workspace=workspace_id, after=after or _FIRST, count=count)

    def count(self, workspace_id: UUID) -> int:
        """How many custom roles there are."""
        return self._session.first(_COUNT, lambda count: count, workspace=workspace_id) or 0

    def in_use(self, role: Role) -> bool:
        """Whether a member or a pending invite has it."""
        users = self._session.all(
            _IN_USE, lambda role_id: role_id, workspace=role.workspace_id, role=UUID(role.role_id)
        )
        return bool(users)


def _role(  # one parameter a column
    *,
    workspace_id: UUID,
    role_id: UUID,
    display_name: str,
    description: str,
    permissions: list[str],
    version: int,
    create_time: datetime,
    update_time: datetime,
) -> Role:
    return Role(
        workspace_id, str(role_id), display_name, description, frozenset(permissions), version, create_time, update_time
    )
