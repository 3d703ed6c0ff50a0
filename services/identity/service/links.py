"""Making and finding the tokens of mailed links."""

from uuid import UUID

from google.protobuf.message import Message

from services.identity.errors import LinkInvalid
from services.identity.model.links import LIFETIMES, Link, Purpose
from services.identity.repository import IdentityRepositories
from services.kernel.clock import Clock
from services.kernel.ids import new_id
from services.kernel.names import USER
from services.kernel.secrets import hash_token, new_token
from services.kernel.unit_of_work import UnitOfWork, Units


class Links:
    """Tokens that are mailed, and stored as hashes only."""

    def __init__(self, units: Units[IdentityRepositories], clock: Clock) -> None:
        self._units = units
        self._clock = clock

    def add(
        self,
        uow: UnitOfWork[IdentityRepositories],
        user_id: UUID,
        purpose: Purpose,
        email: str,
        *,
        password_hash: str | None = None,
        display_name: str | None = None,
    ) -> str:
        """A new token for this purpose. Earlier ones stay good: nobody can spoil a link by asking for another."""
        now, token = self._clock.now(), new_token()
        uow.repo.links.add(
            Link(
                token_hash=hash_token(token),
                user_id=user_id,
                purpose=purpose,
                email=email,
                password_hash=password_hash,
                display_name=display_name,
                create_time=now,
                expire_time=now + LIFETIMES[purpose],
            )
        )
        return token

    def find(self, token: str, purpose: Purpose) -> Link:
        """The link with this token. Raises LinkInvalid for one that is unknown, used or expired."""
        with self._units.system() as uow:
            link = uow.repo.links.get(hash_token(token), purpose)
        if link is None or self._clock.now() >= link.expire_time:
            raise LinkInvalid
        return link


def pretend(uow: UnitOfWork[IdentityRepositories], *, statements: int) -> None:
    """Take the time of so many writes that another address would have needed, and change nothing."""
    for _ in range(statements):
        uow.repo.links.delete_all(new_id())


def nobody_asked(units: Units[IdentityRepositories], event: Message) -> None:
    """Record a request for a link that nobody gets, under no user's name.

    It makes a commit like that of a request that somebody gets, so that the time tells nothing; and probing shows in
    the audit log.
    """
    with units.user(new_id()) as uow:
        # For the link and the mail that are not written.
        pretend(uow, statements=2)
        uow.emit(USER.format(user="-"), event)
        uow.commit()
