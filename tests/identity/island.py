"""Identity alone, on a database and a clock of its own: for what depends on time, on the source, or on a lost race."""

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from services.identity.model.sessions import SignedIn
from services.identity.service import IdentityServices
from services.kernel.caller import Caller, reset_caller, set_caller
from services.kernel.clock import FrozenClock
from services.kernel.db import Database, Scope
from services.kernel.feed import InvalidationHub
from services.kernel.mail import Mailbox
from services.kernel.names import USER

HOME = "192.0.2.1"
PASSWORD = "tulip engine forty-two"
_TOKEN = re.compile(r"token=([A-Za-z0-9_-]+)")


@dataclass
class Island:
    """The use cases of identity, and what they wrote."""

    services: IdentityServices
    clock: FrozenClock
    database: Database
    hub: InvalidationHub
    mailbox: Mailbox
    owner: "psycopg.Connection[Any]"

    @contextmanager
    def acting(self, who: SignedIn | None = None, source: str = HOME) -> Iterator[None]:
        """As a call by this person, or by nobody, from this address."""
        caller = (
            Caller(source=source, user_agent="test")
            if who is None
            else Caller(user_id=who.user.id, session_id=who.session.id, source=source, user_agent="test")
        )
        token = set_caller(caller)
        try:
            yield
        finally:
            reset_caller(token)

    def address(self) -> str:
        """An address that nobody has yet."""
        return f"Some.{secrets.token_hex(6)}@Example.com"

    def register(self, email: str, password: str = PASSWORD, display_name: str = "Some Body") -> None:
        with self.acting():
            self.services.registration.register(email, password, display_name)

    def verify(self, token: str) -> None:
        with self.acting():
            self.services.registration.verify(token)

    def sign_in(self, email: str, password: str = PASSWORD, source: str = HOME) -> SignedIn:
        with self.acting(source=source):
            return self.services.sign_in.sign_in(email, password)

    def refresh(self, token: str) -> SignedIn:
        with self.acting():
            return self.services.sign_in.refresh(token)

    def new(self) -> SignedIn:
        """A new person with a proven address, signed in."""
        email = self.address()
        self.register(email)
        self.verify(self.token(email))
        return self.sign_in(email)

    def mails(self, email: str) -> list[tuple[str, str]]:
        """Kind and text of what the address was sent, the newest first."""
        with self.database.transaction(Scope("plinth_kernel")) as session:
            stored = self.mailbox.latest(session, 50, email)
        # The clock stands still: only the ids tell the order.
        stored.sort(key=lambda mail: mail.id, reverse=True)
        return [(mail.kind, self.mailbox.text(mail)) for mail in stored]

    def kinds(self, email: str) -> list[str]:
        """Kinds of what the address was sent, the oldest first."""
        return [kind for kind, _ in self.mails(email)][::-1]

    def token(self, email: str, nth: int = 0) -> str:
        """The token in the newest mail, or the nth before it."""
        match = _TOKEN.search(self.mails(email)[nth][1])
        assert match is not None
        return match[1]

    def audit(self, user_id: UUID) -> list[str]:
        """What was recorded about a user, in order: the event types without the prefix."""
        return [row[0] for row in self.audit_rows(user_id)]

    def audit_rows(self, user_id: UUID) -> Sequence[tuple[str, dict[str, Any]]]:
        """The same, with the details."""
        rows = self.owner.execute(
            "select replace(action, 'plinth.identity.', ''), detail from kernel.audit where resource = %s order by id",
            [USER.format(user=user_id)],
        )
        return rows.fetchall()

    def later(self, **by: float) -> None:
        """Let time pass, e.g. minutes=3."""
        self.clock.advance(timedelta(**by))
