"""Roles: what the built-in ones hold of the contract's permissions, and what a custom one may hold."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
from uuid import UUID

from services.kernel.errors import FieldsInvalid, FieldViolation, ResourceNotFound
from services.tenancy.errors import RoleAboveOwn, RoleBuiltIn
from services.tenancy.model.names import ROLE

OWNER, ADMIN, MEMBER, VIEWER = "owner", "admin", "member", "viewer"
BUILT_IN = (OWNER, ADMIN, MEMBER, VIEWER)
MAX_CUSTOM_ROLES = 100

WORKSPACE_READ = "workspace.read"
WORKSPACE_DELETE = "workspace.delete"
WORKSPACE_OWN = "workspace.own"
MEMBERS_INVITE = "members.invite"

_RANK = {role: rank for rank, role in enumerate(reversed(BUILT_IN))}
_MEMBER_VERBS = frozenset({"write", "transition"})
_ADMIN_VERBS = frozenset({"manage", "invite", "delete", "decide", "approve", "replay"})
_ADMIN_RESOURCES = frozenset({"audit", "billing"})
_DESCRIPTIONS = {
    OWNER: "Everything, including deleting the workspace and passing it on.",
    ADMIN: "Runs the workspace: members, roles, keys, billing and the audit log.",
    MEMBER: "Works in the workspace: reads, writes and runs.",
    VIEWER: "Looks, and changes nothing.",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """The lowest built-in role that holds a permission, and why, for people."""

    role: str
    text: str


def rule_of(permission: str) -> Rule:
    """Which built-in roles hold a permission, by its resource and verb. Each role holds what those below it hold."""
    resource, _, verb = permission.rpartition(".")
    if permission in (WORKSPACE_DELETE, WORKSPACE_OWN):
        return Rule(OWNER, f"{permission} is for owners")
    if resource in _ADMIN_RESOURCES:
        return Rule(ADMIN, f"everything in {resource} is for admins and above")
    if verb == "read":
        return Rule(VIEWER, "every .read but audit and billing is for viewers and above")
    if permission == "search.query":
        return Rule(VIEWER, "search.query is for viewers and above")
    if verb in _MEMBER_VERBS:
        return Rule(MEMBER, f"every .{verb} is for members and above")
    if permission == "ai.run":
        return Rule(MEMBER, "ai.run is for members and above")
    if verb in _ADMIN_VERBS:
        return Rule(ADMIN, f"every .{verb} is for admins and above")
    # A verb that no rule names yet goes to nobody but the owner: never wider by accident.
    return Rule(OWNER, f"no rule gives {permission} to a lower role, so it is for owners")


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of permissions in a workspace. `role_id` is a word for built-in roles and a UUID's text otherwise.

    Built-in roles have version 0 and no times.
    """

    workspace_id: UUID
    role_id: str
    display_name: str
    description: str
    permissions: frozenset[str]
    version: int = 0
    create_time: datetime | None = None
    update_time: datetime | None = None

    @property
    def built_in(self) -> bool:
        """Whether it comes with Plinth."""
        return self.role_id in BUILT_IN

    @property
    def name(self) -> str:
        """The resource name."""
        return ROLE.format(workspace=self.workspace_id, role=self.role_id)

    def require_within(self, held: frozenset[str]) -> None:
        """Let pass only a role that holds nothing beyond `held`. Raises RoleAboveOwn."""
        beyond = self.permissions - held
        if beyond:
            raise RoleAboveOwn(self.name, min(beyond))

    def require_custom(self) -> None:
        """Let pass only a workspace's own role. Raises RoleBuiltIn."""
        if self.built_in:
            raise RoleBuiltIn(self.name)

    def changed(self, patch: "RolePatch", now: datetime) -> Self:
        """The role after the patch; the same one when nothing differs."""
        after = replace(
            self,
            display_name=self.display_name if patch.display_name is None else patch.display_name,
            description=self.description if patch.description is None else patch.description,
            permissions=self.permissions if patch.permissions is None else patch.permissions,
        )
        return self if after == self else replace(after, version=self.version + 1, update_time=now)


@dataclass(frozen=True, slots=True)
class RolePatch:
    """New values of a custom role; None leaves as it is."""

    display_name: str | None = None
    description: str | None = None
    permissions: frozenset[str] | None = None


class Catalogue:
    """Every permission of the contract, and the built-in roles that follow from it."""

    def __init__(self, permissions: Iterable[str]) -> None:
        self.permissions = frozenset(permissions)
        self._held = {
            role: frozenset(p for p in self.permissions if _RANK[rule_of(p).role] <= _RANK[role]) for role in BUILT_IN
        }

    def held_by(self, role: str) -> frozenset[str] | None:
        """What a built-in role holds; None for any other."""
        return self._held.get(role)

    def built_in(self, workspace_id: UUID, role: str) -> Role:
        """A built-in role, as a workspace shows it."""
        return Role(workspace_id, role, role.capitalize(), _DESCRIPTIONS[role], self._held[role])

    def check(self, permissions: frozenset[str]) -> None:
        """Let pass only what a custom role may hold. Raises FieldsInvalid."""
        if not permissions:
            raise FieldsInvalid(FieldViolation("role.permissions", "must list at least one permission"))
        unknown = permissions - self.permissions
        if unknown:
            raise FieldsInvalid(FieldViolation("role.permissions", f"{min(unknown)} is not a permission"))
        if WORKSPACE_OWN in permissions:
            raise FieldsInvalid(FieldViolation("role.permissions", f"{WORKSPACE_OWN} belongs to owners alone"))


def role_id_in(workspace_id: UUID, name: str, *, field: str) -> str:
    """The id of the role that `name` names in this workspace. Raises NameInvalid, or ResourceNotFound for another's."""
    parts = ROLE.parse(name, field=field)
    if UUID(parts["workspace"]) != workspace_id:
        raise ResourceNotFound(name)
    return parts["role"]
