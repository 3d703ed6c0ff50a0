"""Who there is, for a chain that is tested alone: people with real tokens, keys, sessions and grants, all in memory."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from interceptors.ports import ApiKeyState, SessionState
from services.kernel.caller import Grant
from services.kernel.feed import ApiKeyRevoked, GrantChanged, Invalidation, InvalidationHub, SessionRevoked
from services.kernel.ids import new_id
from services.kernel.names import WORKSPACE
from services.kernel.tokens import AUDIENCE, ISSUER

KID = "user-key-1"
NEVER = datetime(2100, 1, 1, tzinfo=UTC)


class SwitchedHub(InvalidationHub):
    """A feed that is healthy as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.up = True

    def healthy(self) -> bool:
        return self.up


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in."""

    user_id: UUID
    session_id: UUID
    token: str

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """As a client sends it."""
        return bearer(self.token)


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


class Port:
    """One of the chain's ports. `hook` runs after each look-up and before its answer."""

    def __init__(self, look_up: Callable[..., Any]) -> None:
        self._look_up = look_up
        self.asked: Counter[Any] = Counter()
        self.hook: Callable[[], None] = lambda: None

    def find(self, *args: Any, **kwargs: Any) -> Any:
        self.asked[args] += 1
        found = self._look_up(*args, **kwargs)
        self.hook()
        return found


class World:
    """The people, and what a process would be told when something about them changes."""

    def __init__(self, hub: InvalidationHub) -> None:
        self.hub = hub
        self.signing_key = ec.generate_private_key(ec.SECP256R1())
        self._sessions: dict[UUID, SessionState] = {}
        self._api_keys: dict[str, ApiKeyState] = {}
        self._grants: dict[tuple[UUID, UUID], Grant] = {}
        self.keys = Port({KID: self.signing_key.public_key()}.get)
        self.sessions = Port(self._sessions.get)
        self.api_keys = Port(self._api_keys.get)
        self.grants = Port(lambda workspace_id, user_id: self._grants.get((workspace_id, user_id)))

    def person(self, *, operator: bool = False, expires: datetime = NEVER) -> Person:
        """Somebody new, signed in."""
        user_id, session_id = new_id(), new_id()
        self._sessions[session_id] = SessionState(session_id, user_id, operator, expires)
        return Person(user_id, session_id, self.token(sub=str(user_id), sid=str(session_id)))

    def prolong(self, person: Person, expires: datetime) -> None:
        """The session ends later (or earlier) than it did; nobody is told."""
        self._sessions[person.session_id] = SessionState(person.session_id, person.user_id, False, expires)

    def promote(self, person: Person) -> None:
        """Make them an operator; nobody is told."""
        self._sessions[person.session_id] = SessionState(person.session_id, person.user_id, True, NEVER)

    def token(self, *, key: Any = None, kid: str = KID, algorithm: str = "ES256", **claims: Any) -> str:
        """An access token; a claim that is None is left out."""
        now = int(time.time())
        stated = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 600,
            "sub": str(new_id()),
            "sid": str(new_id()),
        }
        kept = {name: value for name, value in (stated | claims).items() if value is not None}
        return jwt.encode(kept, key or self.signing_key, algorithm=algorithm, headers={"kid": kid})

    def api_key(self, workspace_id: UUID, creator: Person, *permissions: str, expires: datetime = NEVER) -> str:
        """The secret of a new key."""
        secret = f"plk_{new_id().hex}"
        self._api_keys[secret] = ApiKeyState(new_id(), workspace_id, creator.user_id, frozenset(permissions), expires)
        return secret

    def grant(self, workspace_id: UUID, person: Person, *permissions: str, tell: bool = True) -> None:
        """Let somebody in, or change what they may do."""
        self._grants[workspace_id, person.user_id] = Grant(
            workspace_id, person.user_id, "member", frozenset(permissions)
        )
        self._tell(GrantChanged(workspace_id, person.user_id), tell)

    def remove(self, workspace_id: UUID, person: Person, *, tell: bool = True) -> None:
        """Throw somebody out."""
        del self._grants[workspace_id, person.user_id]
        self._tell(GrantChanged(workspace_id, person.user_id), tell)

    def sign_out(self, person: Person, *, tell: bool = True) -> None:
        """End the session."""
        del self._sessions[person.session_id]
        self._tell(SessionRevoked(person.session_id), tell)

    def revoke_key(self, secret: str, *, tell: bool = True) -> None:
        """End an API key."""
        self._tell(ApiKeyRevoked(self._api_keys.pop(secret).api_key_id), tell)

    def _tell(self, invalidation: Invalidation, tell: bool) -> None:
        if tell:
            self.hub.publish(invalidation)

    def member(self, *permissions: str) -> tuple[UUID, Person]:
        """A new workspace, and somebody in it."""
        workspace_id, person = new_id(), self.person()
        self.grant(workspace_id, person, *permissions)
        return workspace_id, person


def note_of(workspace_id: UUID) -> str:
    """The name of a note in it."""
    return f"{WORKSPACE.format(workspace=workspace_id)}/notes/1"


def soon(seconds: float) -> datetime:
    """That many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)
