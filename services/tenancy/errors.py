"""The errors of tenancy. Resources are given by name, as the client knows them."""

from collections.abc import Iterable

from services.kernel.errors import AlreadyExists, FailedPrecondition, NotFound, PermissionDenied

_NAMES_SHOWN = 10


class LastOwner(FailedPrecondition):
    """A workspace always keeps an owner, and this is the only one."""

    reason = "LAST_OWNER"

    def __init__(self, workspace: str) -> None:
        super().__init__("The last owner stays: make another member an owner first.", workspace=workspace)


class SoleOwner(FailedPrecondition):
    """The user is the only owner of workspaces that live; `workspaces` lists the first ten."""

    reason = "SOLE_OWNER"

    def __init__(self, workspaces: Iterable[str]) -> None:
        names = ",".join(sorted(workspaces)[:_NAMES_SHOWN])
        super().__init__("Transfer or delete the workspaces that you alone own first.", workspaces=names)


class RoleAboveOwn(PermissionDenied):
    """The role holds permissions that the caller lacks, so they may not give, take or change it."""

    reason = "ROLE_ABOVE_OWN"

    def __init__(self, role: str, missing: str) -> None:
        super().__init__("The role holds more than your own.", role=role, missing=missing)


class RoleInUse(FailedPrecondition):
    """Members or pending invites have the role."""

    reason = "ROLE_IN_USE"

    def __init__(self, role: str) -> None:
        super().__init__("The role is in use: give its members another one and revoke its invites.", role=role)


class RoleBuiltIn(FailedPrecondition):
    """The role comes with Plinth."""

    reason = "ROLE_BUILT_IN"

    def __init__(self, role: str) -> None:
        super().__init__("Built-in roles cannot be changed.", role=role)


class RoleNameTaken(AlreadyExists):
    """Another role of the workspace is called that."""

    reason = "ROLE_NAME_TAKEN"

    def __init__(self, display_name: str) -> None:
        super().__init__("Another role has this name.", display_name=display_name)


class RoleLimitReached(FailedPrecondition):
    """The workspace has as many custom roles as it may."""

    reason = "ROLE_LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__("The workspace has as many roles as it may.", limit=str(limit))


class MemberExists(AlreadyExists):
    """The invited address is a member's."""

    reason = "MEMBER_EXISTS"

    def __init__(self, member: str) -> None:
        super().__init__("This person is a member already.", member=member)


class InvitePending(AlreadyExists):
    """The address was invited and has not answered."""

    reason = "INVITE_PENDING"

    def __init__(self, invite: str) -> None:
        super().__init__("This address has a pending invite: resend or revoke it.", invite=invite)


class InviteNotFound(NotFound):
    """The token is unknown, was replaced, or is for somebody else: which of them is not told."""

    reason = "INVITE_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no such invite for you; ask for a new link.")


class InviteExpired(FailedPrecondition):
    """The time to accept has run out."""

    reason = "INVITE_EXPIRED"

    def __init__(self, invite: str) -> None:
        super().__init__("The invite has expired; ask for a new link.", invite=invite)


class InviteClosed(FailedPrecondition):
    """The invite was answered or taken back; `state` says which."""

    reason = "INVITE_CLOSED"

    def __init__(self, invite: str, state: str) -> None:
        super().__init__("The invite is no longer open.", invite=invite, state=f"STATE_{state.upper()}")


class InviterLacksRole(FailedPrecondition):
    """Who invited has left, or may no longer give that role."""

    reason = "INVITER_LACKS_ROLE"

    def __init__(self, invite: str) -> None:
        super().__init__("Who invited you may no longer give this role; ask for a new invite.", invite=invite)
