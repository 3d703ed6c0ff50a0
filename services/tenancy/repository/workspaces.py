"""Workspaces, as rows."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import any_, bindparam, delete, insert, literal, or_, select, update

from services.kernel.db import Session, compiled
from services.tenancy.model.roles import OWNER, WORKSPACE_DELETE
from services.tenancy.model.workspaces import Workspace
from services.tenancy.tables import members, roles, workspaces

_FIRST = UUID(int=0)

_t = workspaces.c
_ADD = compiled(insert(workspaces).values({c.name: bindparam(c.name) for c in workspaces.columns}))
_by_id = select(workspaces).where(_t.workspace_id == bindparam("id"))
_GET = compiled(_by_id)
# NO KEY UPDATE is enough to let one change of members follow another, and leaves foreign key checks in peace.
_LOCK = compiled(_by_id.with_for_update(key_share=True))
_SAVE = compiled(
    update(workspaces)
    .where(_t.workspace_id == bindparam("id"))
    .values(
        display_name=bindparam("display_name"),
        version=bindparam("version"),
        update_time=bindparam("update_time"),
        delete_time=bindparam("delete_time"),
        purge_time=bindparam("purge_time"),
    )
)
_mine = (
    select(workspaces)
    .join(members, members.c.workspace_id == _t.workspace_id)
    .where(members.c.user_id == bindparam("user_id"), _t.workspace_id > bindparam("after"))
    .order_by(_t.workspace_id)
    .limit(bindparam("count"))
)
_LIST_MINE = compiled(_mine.where(_t.delete_time.is_(None)))
_custom = (roles.c.workspace_id == members.c.workspace_id) & (roles.c.role_id == members.c.custom_role_id)
_LIST_MINE_WITH_DELETED = compiled(
    _mine.outerjoin(roles, _custom).where(
        or_(
            _t.delete_time.is_(None),
            (_t.purge_time > bindparam("now"))
            & or_(members.c.role == OWNER, literal(WORKSPACE_DELETE) == any_(roles.c.permissions)),
        )
    )
)

# Each batch goes in a commit of its own; what another process purges at this moment is left to it.
_due = (
    select(_t.workspace_id)
    .where(_t.purge_time <= bindparam("now"))
    .order_by(_t.purge_time)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_PURGE = compiled(delete(workspaces).where(_t.workspace_id.in_(_due)).returning(_t.workspace_id))


class WorkspaceRepository:
    """Workspaces of the session's tenant, or of its user."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, workspace: Workspace) -> None:
        """Insert it."""
        self._session.run(
            _ADD,
            workspace_id=workspace.workspace_id,
            display_name=workspace.display_name,
            version=workspace.version,
            create_time=workspace.create_time,
            update_time=workspace.update_time,
            delete_time=workspace.delete_time,
            purge_time=workspace.purge_time,
        )

    def get(self, workspace_id: UUID) -> Workspace | None:
        """The workspace, deleted or not."""
        return self._session.first(_GET, Workspace, id=workspace_id)

    def lock(self, workspace_id: UUID) -> Workspace | None:
        """The same, until the commit: changes of a workspace's members, roles and invites go one by one."""
        return self._session.first(_LOCK, Workspace, id=workspace_id)

    def save(self, workspace: Workspace) -> None:
        """Write its new values."""
        self._session.run(
            _SAVE,
            id=workspace.workspace_id,
            display_name=workspace.display_name,
            version=workspace.version,
            update_time=workspace.update_time,
            delete_time=workspace.delete_time,
            purge_time=workspace.purge_time,
        )

    def purge(self, now: datetime, count: int) -> list[UUID]:
        """Delete workspaces whose time has come, no more than `count`, with all that is in them: which; in a system
        session.
        """
        return self._session.all(_PURGE, lambda workspace_id: workspace_id, now=now, count=count)

    def list_by_member(self, user_id: UUID, after: UUID | None, count: int) -> list[Workspace]:
        """Living workspaces of a user, oldest first, after the one named."""
        return self._session.all(_LIST_MINE, Workspace, user_id=user_id, after=after or _FIRST, count=count)

    def list_by_member_with_deleted(
        self, user_id: UUID, after: UUID | None, count: int, now: datetime
    ) -> list[Workspace]:
        """The same, and deleted ones that the user may undelete."""
        return self._session.all(
            _LIST_MINE_WITH_DELETED, Workspace, user_id=user_id, after=after or _FIRST, count=count, now=now
        )
