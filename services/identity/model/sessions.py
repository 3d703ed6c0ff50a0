"""Sessions: the family of refresh tokens that descends from one sign-in.

Each refresh replaces the token by its successor (RFC 9700 §4.14.2). A token is `session id ‖ generation ‖ MAC` under a
key that the session has of its own and that is stored encrypted. So:

- the successor can be told again inside the grace window (two tabs at once, a lost answer) without storing any token;
- every token that was ever issued is recognised, however old, so that its reuse can be told from mere noise, and nobody
  who knows a session's id can forge one and have the session ended;
- a copy of the database holds nothing that can be sent, and a change of the master key ends no session.
"""

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from services.identity.model.users import User
from services.kernel.names import ResourceName

SESSION = ResourceName("me/sessions/{session}")
# However often it is refreshed, a session asks for the password again after this.
MAX_AGE = timedelta(days=180)
# Some deeds ask for a session that began no longer ago than this.
RECENT = timedelta(minutes=15)

KEY_BYTES = 32

_PREFIX = "plr_"
_BODY = struct.Struct(">16sI")
_MAC_BYTES = 32


class RevokeReason(Enum):
    """Why a session or an API key ended before its time; the values are the contract's."""

    SIGNED_OUT = "SIGNED_OUT"
    REVOKED = "REVOKED"
    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105  # the name of a reason
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105  # the name of a reason
    TOKEN_REUSED = "TOKEN_REUSED"  # noqa: S105  # the name of a reason
    REGISTRATION_REPLACED = "REGISTRATION_REPLACED"
    EMAIL_CHANGED = "EMAIL_CHANGED"
    USER_DELETED = "USER_DELETED"
    MEMBERSHIP_ENDED = "MEMBERSHIP_ENDED"
    WORKSPACE_PURGED = "WORKSPACE_PURGED"


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in on one device. `refresh_key` is encrypted; `generation` is that of the latest refresh token."""

    id: UUID
    user_id: UUID
    refresh_key: bytes
    generation: int
    rotate_time: datetime
    user_agent: str
    source: str
    create_time: datetime
    last_used_time: datetime
    expire_time: datetime
    revoke_time: datetime | None
    revoke_reason: str

    @property
    def name(self) -> str:
        """`me/sessions/{session}`."""
        return self.name_of(self.id)

    @staticmethod
    def name_of(session_id: UUID) -> str:
        """The same, for a session that may not exist."""
        return SESSION.format(session=session_id)

    def is_live(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoke_time is None and now < self.expire_time

    def is_recent(self, now: datetime) -> bool:
        """Whether the password was given lately enough for deeds that ask for it."""
        return now - self.create_time <= RECENT

    @property
    def context(self) -> str:
        """What `refresh_key` is encrypted for."""
        return self.context_of(self.id)

    @staticmethod
    def context_of(session_id: UUID) -> str:
        """The same, for a session that is about to be made."""
        return f"identity.sessions/{session_id}"


@dataclass(frozen=True, slots=True)
class SessionState:
    """What the chain wants to know of a live session."""

    user_id: UUID
    expire_time: datetime
    operator: bool


@dataclass(frozen=True, slots=True)
class OwnSession:
    """A session as its user sees it; `current`: the call came with it."""

    session: Session
    current: bool


@dataclass(frozen=True, slots=True, repr=False)
class SignedIn:
    """A session that has begun or goes on, with its tokens; `expire_time` is the access token's."""

    user: User
    session: Session
    access_token: str
    refresh_token: str
    expire_time: datetime


@dataclass(frozen=True, slots=True, repr=False)
class RefreshToken:
    """A refresh token taken apart; nothing about it is proven before `verify`."""

    session_id: UUID
    generation: int
    mac: bytes

    def verify(self, key: bytes) -> bool:
        """Whether it was issued with this session's key; in constant time."""
        return hmac.compare_digest(self.mac, _mac(key, self.session_id, self.generation))


class Verdict(Enum):
    """What becomes of a refresh token that is genuine."""

    ROTATE = "rotate"
    REPEAT = "repeat"
    REUSE = "reuse"


def judge(generation: int, current: int, rotate_time: datetime, now: datetime, grace: timedelta) -> Verdict:
    """What to do with a genuine token of `generation`, when the latest one is `current`, issued at `rotate_time`.

    The direct predecessor gets the same successor again while the grace lasts. Using the successor ends the grace: then
    the predecessor is two behind. A generation ahead of ours was issued before the database was restored from a backup,
    and counts as the latest.
    """
    if generation >= current:
        return Verdict.ROTATE
    if generation == current - 1 and now - rotate_time <= grace:
        return Verdict.REPEAT
    return Verdict.REUSE


def expiry(create_time: datetime, now: datetime, ttl: timedelta) -> datetime:
    """When a session ends that was refreshed now: it slides, up to its greatest age."""
    return min(now + ttl, create_time + MAX_AGE)


def format_token(key: bytes, session_id: UUID, generation: int) -> str:
    """The refresh token of this generation; always the same one."""
    body = _BODY.pack(session_id.bytes, generation) + _mac(key, session_id, generation)
    return _PREFIX + base64.urlsafe_b64encode(body).decode().rstrip("=")


def parse_token(text: str) -> RefreshToken | None:
    """Take a refresh token apart; None for what cannot be one."""
    encoded = text.removeprefix(_PREFIX)
    try:
        body = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    if not text.startswith(_PREFIX) or len(body) != _BODY.size + _MAC_BYTES:
        return None
    session_id, generation = _BODY.unpack_from(body)
    return RefreshToken(UUID(bytes=session_id), generation, body[_BODY.size :])


def _mac(key: bytes, session_id: UUID, generation: int) -> bytes:
    return hmac.digest(key, _BODY.pack(session_id.bytes, generation), hashlib.sha256)
