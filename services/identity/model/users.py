"""Users and their addresses."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.kernel.names import USER


@dataclass(frozen=True, slots=True)
class User:
    """A person who can sign in. `email` is as they wrote it; `email_key` is what it is compared by."""

    id: UUID
    email: str
    email_key: str
    email_verified: bool
    display_name: str
    version: int
    create_time: datetime
    update_time: datetime

    @property
    def name(self) -> str:
        """`users/{user}`."""
        return USER.format(user=self.id)


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A network address that a user has signed in from, or reset the password from."""

    user_id: UUID
    source: str
    create_time: datetime
    last_used_time: datetime


def email_key(email: str) -> str:
    """What addresses are compared by: case does not count.

    The part before the @ is case-sensitive by RFC 5321 §2.4, but no provider of note treats it so, and two users whose
    addresses differ in case alone would be taken for each other. Dots and +tags do count: few providers drop them.
    """
    return email.strip().casefold()
