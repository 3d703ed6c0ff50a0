"""What the chain needs of the domains, without knowing any: handed in by the composition roots."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from services.kernel.caller import Caller, Grant


@dataclass(frozen=True, slots=True)
class SessionState:
    """A live session: whose it is, whether the user is an operator, and when it ends by itself."""

    session_id: UUID
    user_id: UUID
    operator: bool
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class ApiKeyState:
    """A live API key: its workspace, its creator, what it may do at most, and when it ends by itself."""

    api_key_id: UUID
    workspace_id: UUID
    user_id: UUID
    permissions: frozenset[str]
    expire_time: datetime


class Keys(Protocol):
    """The public keys that access tokens are signed with."""

    def find(self, kid: str) -> EllipticCurvePublicKey | None:
        """The key of this id; None where there is none."""
        ...


class Sessions(Protocol):
    """Sessions that are alive now."""

    def find(self, session_id: UUID) -> SessionState | None:
        """The session; None where it ended or never was."""
        ...


class ApiKeys(Protocol):
    """API keys that are alive now."""

    def find(self, secret: str) -> ApiKeyState | None:
        """The key with this secret; None where it ended or never was."""
        ...


class Grants(Protocol):
    """What users may do in workspaces now."""

    def find(self, workspace_id: UUID, user_id: UUID) -> Grant | None:
        """The grant; None for who is no member."""
        ...


class Quota(Protocol):
    """Counts and limits metered calls. Answers what to call with whether the call succeeded."""

    def reserve(self, caller: Caller, meter: str, cost: int) -> Callable[[bool], None]:
        """Set `cost` units aside. Raises ResourceExhausted when the workspace has none left."""
        ...
