"""Use cases of any user: for other services, and for the operator's command line."""

from collections.abc import Sequence
from uuid import UUID

from google.protobuf.message import Message

from plinth.identity.v1 import events_pb2
from services.identity.model.users import User, email_key
from services.identity.repository import IdentityRepositories
from services.kernel.clock import Clock
from services.kernel.errors import EmailNotVerified, ResourceNotFound
from services.kernel.feed import UserSessionsRevoked
from services.kernel.names import USER
from services.kernel.unit_of_work import UnitOfWork, Units


class Directory:
    """Looks users up, whoever asks; only services of the mesh and operators get here."""

    def __init__(self, units: Units[IdentityRepositories]) -> None:
        self._units = units

    def get(self, user_id: UUID) -> User:
        """The user. Raises ResourceNotFound."""
        with self._units.system() as uow:
            user = uow.repo.users.get(user_id)
        if user is None:
            raise ResourceNotFound(USER.format(user=user_id))
        return user

    def get_many(self, user_ids: Sequence[UUID]) -> list[User]:
        """Those of the users that exist, in the order asked."""
        with self._units.system() as uow:
            found = {user.id: user for user in uow.repo.users.get_many(user_ids)}
        return [found[user_id] for user_id in dict.fromkeys(user_ids) if user_id in found]

    def find_by_email(self, email: str) -> User | None:
        """The user who has proven that the address is theirs."""
        with self._units.system() as uow:
            user = uow.repo.users.get_by_email(email_key(email))
        return user if user is not None and user.email_verified else None


class Operators:
    """Who operates the instance; `plinth operator` calls this, no method does."""

    def __init__(self, units: Units[IdentityRepositories], clock: Clock) -> None:
        self._units = units
        self._clock = clock

    def add(self, email: str) -> User:
        """Make the user with this proven address an operator. Raises ResourceNotFound or EmailNotVerified."""
        with self._units.system() as uow:
            user = _by_email(uow, email)
            if not user.email_verified:
                raise EmailNotVerified
            if uow.repo.users.add_operator(user.id, self._clock.now()):
                _changed(uow, user, events_pb2.OperatorAdded(user=user.name))
            return user

    def remove(self, email: str) -> User:
        """Make the user with this address an operator no more. Raises ResourceNotFound."""
        with self._units.system() as uow:
            user = _by_email(uow, email)
            if uow.repo.users.remove_operator(user.id):
                _changed(uow, user, events_pb2.OperatorRemoved(user=user.name))
            return user

    def list_all(self) -> list[User]:
        """Every operator, by address."""
        with self._units.system() as uow:
            return uow.repo.users.operators()


def _by_email(uow: UnitOfWork[IdentityRepositories], email: str) -> User:
    user = uow.repo.users.get_by_email(email_key(email))
    if user is None:
        raise ResourceNotFound(email)
    return user


def _changed(uow: UnitOfWork[IdentityRepositories], user: User, event: Message) -> None:
    uow.emit(user.name, event)
    uow.invalidate(UserSessionsRevoked(user.id))
    uow.commit()
