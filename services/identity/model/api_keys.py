"""API keys: for programs, in one workspace, for a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.identity.errors import PermissionsExceedGrant
from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.names import API_KEY
from services.kernel.tokens import API_KEY_PREFIX

_SHOWN = len(API_KEY_PREFIX) + 6
_DEFAULT_LIFE = timedelta(days=90)
_MAX_LIFE = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: the key itself is not."""

    workspace_id: UUID
    id: UUID
    creator_id: UUID
    display_name: str
    prefix: str
    permissions: tuple[str, ...]
    create_time: datetime
    expire_time: datetime
    last_used_time: datetime | None
    revoke_time: datetime | None

    @property
    def name(self) -> str:
        """`workspaces/{workspace}/apiKeys/{api_key}`."""
        return API_KEY.format(workspace=self.workspace_id, api_key=self.id)

    def is_live(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoke_time is None and now < self.expire_time


def shown_prefix(secret: str) -> str:
    """As much of a key as may be shown to recognise it by: 36 of its 256 bits."""
    return secret[:_SHOWN]


def check_permissions(asked: Iterable[str], held: frozenset[str]) -> tuple[str, ...]:
    """The permissions of a new key: no more than its creator holds. Raises PermissionsExceedGrant."""
    asked = frozenset(asked)
    if missing := asked - held:
        raise PermissionsExceedGrant(missing)
    return tuple(sorted(asked))


def check_expiry(asked: datetime | None, now: datetime) -> datetime:
    """When a new key ends. Raises FieldsInvalid for a time that has passed or lies more than a year ahead."""
    if asked is None:
        return now + _DEFAULT_LIFE
    if not now < asked <= now + _MAX_LIFE:
        raise FieldsInvalid(FieldViolation("api_key.expire_time", "must be in the future, and at most a year ahead"))
    return asked
