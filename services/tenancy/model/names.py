"""Resource names of tenancy, and what stands in them."""

from uuid import UUID

from services.kernel.names import USER, WORKSPACE, ResourceName

MEMBER = ResourceName("workspaces/{workspace}/members/{member}")
INVITE = ResourceName("workspaces/{workspace}/invites/{invite}")
ROLE = ResourceName("workspaces/{workspace}/roles/{role}", words=frozenset({"role"}))
AUDIT_EVENT = ResourceName("workspaces/{workspace}/auditEvents/{audit_event}")


def workspace_in(name: str, *, field: str = "name") -> UUID:
    """The workspace of that name. Raises NameInvalid, which blames `field`."""
    (workspace_id,) = WORKSPACE.ids(name, field=field)
    return workspace_id


def user_in(name: str, *, field: str = "user") -> UUID:
    """The user of that name. Raises NameInvalid, which blames `field`."""
    (user_id,) = USER.ids(name, field=field)
    return user_id


def member_in(name: str, *, field: str = "name") -> tuple[UUID, UUID]:
    """The workspace and the user of a member's name. Raises NameInvalid, which blames `field`."""
    workspace_id, user_id = MEMBER.ids(name, field=field)
    return workspace_id, user_id


def invite_in(name: str) -> tuple[UUID, UUID]:
    """The workspace and the id of an invite's name. Raises NameInvalid."""
    workspace_id, invite_id = INVITE.ids(name)
    return workspace_id, invite_id


def role_in(name: str, *, field: str = "name") -> tuple[UUID, str]:
    """The workspace and the id of a role's name. Raises NameInvalid, which blames `field`."""
    parts = ROLE.parse(name, field=field)
    return UUID(parts["workspace"]), parts["role"]
