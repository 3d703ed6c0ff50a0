"""Who may see a document."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from uuid import UUID

from services.documents.errors import VisibilityInvalid
from services.kernel.caller import Grant


class VisibilityKind(StrEnum):
    """How it is decided who may."""

    EVERYONE = "everyone"
    ROLES = "roles"
    MEMBERS = "members"


@dataclass(frozen=True, slots=True)
class Visibility:
    """Who may see a document, but for its author and owners of the workspace, who always may.

    `roles` are ids (`member`, or a UUID's text), `members` of users. Neither has an order or anything twice.
    """

    kind: VisibilityKind = VisibilityKind.EVERYONE
    roles: tuple[str, ...] = ()
    members: tuple[UUID, ...] = ()

    @classmethod
    def of(cls, kind: VisibilityKind, roles: tuple[str, ...], members: tuple[UUID, ...]) -> Self:
        """One that somebody can be meant by. Raises VisibilityInvalid."""
        if roles and kind is not VisibilityKind.ROLES:
            raise VisibilityInvalid("roles", "roles are for KIND_ROLES alone")
        if members and kind is not VisibilityKind.MEMBERS:
            raise VisibilityInvalid("members", "members are for KIND_MEMBERS alone")
        if kind is VisibilityKind.ROLES and not roles:
            raise VisibilityInvalid("roles", "roles are needed")
        if kind is VisibilityKind.MEMBERS and not members:
            raise VisibilityInvalid("members", "members are needed")
        return cls(kind, tuple(sorted(set(roles))), tuple(sorted(set(members))))


EVERYONE = Visibility()


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: a user, with the role that they have now."""

    user_id: UUID
    role: str
    sees_all: bool

    @classmethod
    def of(cls, grant: Grant) -> Self:
        """Who has the grant. That of an API key is its creator's but for the permissions: it sees what they see."""
        return cls(grant.user_id, grant.role, grant.owner)

    def sees(self, visibility: Visibility, author_id: UUID) -> bool:
        """Whether they may see a document of this author. The same as a condition is in `repository.visibility`."""
        if self.sees_all or self.user_id == author_id:
            return True
        match visibility.kind:
            case VisibilityKind.EVERYONE:
                return True
            case VisibilityKind.ROLES:
                return self.role in visibility.roles
            case VisibilityKind.MEMBERS:
                return self.user_id in visibility.members
