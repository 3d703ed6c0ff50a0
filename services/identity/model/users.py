"""Users and their addresses."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
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

    def verified(self, now: datetime, *, display_name: str | None = None) -> Self:
        """With the address proven; under another name where the registration that proved it gave one."""
        name = self.display_name if display_name is None else display_name
        return replace(self, email_verified=True, display_name=name, version=self.version + 1, update_time=now)

    def renamed(self, display_name: str, now: datetime) -> Self:
        """With another display name; the same one when it has that already."""
        if display_name == self.display_name:
            return self
        return replace(self, display_name=display_name, version=self.version + 1, update_time=now)

    def moved_to(self, email: str, now: datetime) -> Self:
        """With another address, which is proven."""
        return replace(
            self,
            email=email,
            email_key=email_key(email),
            email_verified=True,
            version=self.version + 1,
            update_time=now,
        )


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
