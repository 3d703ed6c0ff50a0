"""The life of a signing key: published first, then signing, then only verifying, then gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum


class KeyState(Enum):
    """Where a signing key is in its life."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"


# How long verifiers may go on with a key set that they have read.
JWKS_MAX_AGE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """An ES256 key pair; the private half is encrypted. `state_time` is when it entered its state."""

    kid: str
    state: KeyState
    public_jwk: str
    private_key: bytes
    create_time: datetime
    state_time: datetime

    @property
    def context(self) -> str:
        """What `private_key` is encrypted for."""
        return f"identity.signing_keys/{self.kid}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to change: which keys, by `kid`, and how many new ones. If `creates_active`, the first of them signs."""

    retire: tuple[str, ...] = ()
    activate: str | None = None
    delete: tuple[str, ...] = ()
    create: int = 0
    creates_active: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether all is as it should be."""
        return not (self.retire or self.activate or self.delete or self.create)


def plan(keys: Sequence[SigningKey], now: datetime, *, key_ttl: timedelta, token_ttl: timedelta) -> Plan:
    """What has to change now so that one key signs, one waits, and every valid token can be verified."""
    by_state = {state: sorted((k for k in keys if k.state is state), key=_age) for state in KeyState}
    due = [key for key in by_state[KeyState.ACTIVE] if now - key.state_time >= key_ttl]
    signs = len(by_state[KeyState.ACTIVE]) > len(due)
    waiting = [key.kid for key in by_state[KeyState.NEXT]]
    activate = waiting.pop(0) if waiting and not signs else None
    creates_active = not signs and activate is None
    return Plan(
        retire=tuple(key.kid for key in due),
        activate=activate,
        delete=tuple(k.kid for k in by_state[KeyState.RETIRED] if now - k.state_time >= overlap(token_ttl)),
        create=creates_active + (not waiting),
        creates_active=creates_active,
    )


def overlap(token_ttl: timedelta) -> timedelta:
    """How long a retired key stays published: longer than any token that it signed, whatever the caches."""
    return 2 * token_ttl + JWKS_MAX_AGE


def _age(key: SigningKey) -> datetime:
    return key.create_time
