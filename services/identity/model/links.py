"""Mailed links: a hashed token that works once, for one purpose, for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID


class Purpose(Enum):
    """What a link is for."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105  # the name of a purpose
    CHANGE_EMAIL = "change_email"


LIFETIMES = {
    Purpose.VERIFY_EMAIL: timedelta(hours=24),
    Purpose.RESET_PASSWORD: timedelta(hours=1),
    Purpose.CHANGE_EMAIL: timedelta(hours=1),
}


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A link that waits. `email` is where it went, and what it proves.

    The link of a repeated registration carries that registration's password hash and display name, which take effect
    when it is used and not before.
    """

    token_hash: bytes
    user_id: UUID
    purpose: Purpose
    email: str
    password_hash: str | None
    display_name: str | None
    create_time: datetime
    expire_time: datetime

    @property
    def is_repeated_registration(self) -> bool:
        """Whether using it replaces the password that the account has so far."""
        return self.password_hash is not None
