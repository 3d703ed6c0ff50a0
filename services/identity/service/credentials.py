"""Proving a password: throttled, in turn, and in the same time for users that exist and those that do not."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.identity.errors import PasswordWrong
from services.identity.model.throttle import Factor, source_of
from services.identity.model.users import User, email_key
from services.identity.repository import IdentityRepositories
from services.identity.service.hashing import PasswordHashes
from services.identity.service.throttling import Throttle
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import ResourceNotFound
from services.kernel.names import USER
from services.kernel.unit_of_work import UnitOfWork, Units

# How long a source counts as known after the last sign-in from there.
KNOWN_FOR = timedelta(days=90)
_NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True, repr=False)
class Proven:
    """Who knows the password. `rehashed` is set where the stored hash has old parameters."""

    user: User
    password_hash: str
    rehashed: str | None


class Credentials:
    """Checks passwords."""

    def __init__(
        self, units: Units[IdentityRepositories], clock: Clock, hashes: PasswordHashes, throttle: Throttle
    ) -> None:
        self._units = units
        self._clock = clock
        self._hashes = hashes
        self._throttle = throttle

    def by_email(self, email: str, password: str) -> Proven | None:
        """The user with this address, if the password fits. Raises SignInThrottled or Overloaded."""
        key = email_key(email)
        return self._check(lambda repo: repo.users.get_by_email(key), key, password)

    def own(self, password: str) -> Proven:
        """The calling user, who gave the password once more.

        Raises PasswordWrong, SignInThrottled, Overloaded, or ResourceNotFound where the user was deleted meanwhile.
        """
        user_id = current_caller().require_user()
        with self._units.user() as uow:
            user = uow.repo.users.get(user_id)
        if user is None:
            raise ResourceNotFound(USER.format(user=user_id))
        proven = self._check(lambda repo: repo.users.get(user_id), user.email_key, password)
        if proven is None:
            raise PasswordWrong
        return proven

    def _check(self, find: Callable[[IdentityRepositories], User | None], account: str, password: str) -> Proven | None:
        source = source_of(current_caller().source)
        # Looking at the counters, trying and counting happen in one turn: in parallel no more attempts slip past the
        # counters than there are cores.
        with self._hashes.turn():
            now = self._clock.now()
            with self._units.system() as uow:
                user = find(uow.repo)
                user_id = user.id if user is not None else _NOBODY
                encoded = uow.repo.users.password_hash(user_id)
                known = uow.repo.users.is_known_source(user_id, source, now - KNOWN_FOR)
                failed_before = self._throttle.check(
                    uow.repo, Factor.PASSWORD, account, source, now, known_source=known
                )
            fits = self._hashes.verify(encoded, password)
            if not fits or user is None or encoded is None:
                self._throttle.fail(Factor.PASSWORD, account, source, now)
                return None
            rehashed = self._hashes.hash(password) if self._hashes.is_outdated(encoded) else None
        if failed_before:
            self._throttle.clear_pair(Factor.PASSWORD, account, source)
        return Proven(user, encoded, rehashed)

    def still(self, uow: UnitOfWork[IdentityRepositories], proven: Proven) -> User:
        """The same user, held until the commit. Raises PasswordWrong where the password was changed meanwhile."""
        user = uow.repo.users.lock(proven.user.id)
        if user is None or uow.repo.users.password_hash(user.id) != proven.password_hash:
            raise PasswordWrong
        return user
