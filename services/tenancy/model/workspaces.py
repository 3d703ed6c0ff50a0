"""Workspaces and their members: soft deletion, the grant that a membership gives, and the last owner's guard."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from services.kernel.caller import Grant
from services.kernel.errors import ResourceNotFound
from services.kernel.names import WORKSPACE
from services.tenancy.errors import LastOwner
from services.tenancy.model.names import MEMBER, ROLE
from services.tenancy.model.roles import OWNER, WORKSPACE_DELETE, WORKSPACE_READ

PURGE_AFTER = timedelta(days=30)
# All that is left to whoever may delete a workspace, once it is deleted: to find it and to bring it back.
_IN_DELETED = frozenset({WORKSPACE_READ, WORKSPACE_DELETE})


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant. Deleted, it has a `delete_time` and the `purge_time` at which it is gone for good."""

    workspace_id: UUID
    display_name: str
    version: int
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None = None
    purge_time: datetime | None = None

    @property
    def name(self) -> str:
        """The resource name."""
        return WORKSPACE.format(workspace=self.workspace_id)

    @property
    def deleted(self) -> bool:
        """Whether it is closed to its members."""
        return self.delete_time is not None

    def gone(self, now: datetime) -> bool:
        """Whether nobody can bring it back any more."""
        return self.purge_time is not None and self.purge_time <= now

    def renamed(self, display_name: str, now: datetime) -> Self:
        """With another display name; the same one when it has that already."""
        if display_name == self.display_name:
            return self
        return replace(self, display_name=display_name, version=self.version + 1, update_time=now)

    def after_delete(self, now: datetime) -> Self:
        """Deleted; the same one when it is so already."""
        if self.deleted:
            return self
        return replace(self, version=self.version + 1, update_time=now, delete_time=now, purge_time=now + PURGE_AFTER)

    def after_undelete(self, now: datetime) -> Self:
        """Living again; the same one when it lives."""
        if not self.deleted:
            return self
        return replace(self, version=self.version + 1, update_time=now, delete_time=None, purge_time=None)


@dataclass(frozen=True, slots=True)
class Member:
    """A user in a workspace, in one role."""

    workspace_id: UUID
    user_id: UUID
    role: str
    version: int
    create_time: datetime
    update_time: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return MEMBER.format(workspace=self.workspace_id, member=self.user_id)

    @property
    def role_name(self) -> str:
        """The resource name of the role."""
        return ROLE.format(workspace=self.workspace_id, role=self.role)

    def with_role(self, role: str, now: datetime) -> Self:
        """In another role; the same one when it has that already."""
        if role == self.role:
            return self
        return replace(self, role=role, version=self.version + 1, update_time=now)


@dataclass(frozen=True, slots=True)
class Person:
    """What identity tells of a user."""

    user_id: UUID
    email: str
    email_verified: bool
    display_name: str

    def has_email(self, email: str) -> bool:
        """Whether this is their address. Addresses are ASCII (the contract refuses others), so case folds safely."""
        return self.email.lower() == email.lower()


@dataclass(frozen=True, slots=True)
class Membership:
    """A member, the workspace, and what the member's role holds."""

    workspace: Workspace
    member: Member
    permissions: frozenset[str]

    def grant(self, now: datetime) -> Grant | None:
        """What the member may do now. In a deleted workspace: find it and bring it back, for who may delete it."""
        permissions = self.permissions
        if self.workspace.deleted:
            if self.workspace.gone(now) or WORKSPACE_DELETE not in permissions:
                return None
            permissions &= _IN_DELETED
        return Grant(self.workspace.workspace_id, self.member.user_id, self.member.role, permissions)


def require_other_owner(member: Member, owners: Collection[UUID]) -> None:
    """Let an owner go only while another one stays. `owners` are read under the workspace's lock. Raises LastOwner."""
    if member.role == OWNER and not any(owner != member.user_id for owner in owners):
        raise LastOwner(WORKSPACE.format(workspace=member.workspace_id))


def user_id_in(workspace_id: UUID, name: str, *, field: str) -> UUID:
    """The user whose membership of this workspace `name` names. Raises NameInvalid, or ResourceNotFound elsewhere."""
    there, user_id = MEMBER.ids(name, field=field)
    if there != workspace_id:
        raise ResourceNotFound(name)
    return user_id
