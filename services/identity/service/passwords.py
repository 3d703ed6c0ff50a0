"""Use cases of a password: reset it by mail, change it."""

from plinth.identity.v1 import events_pb2
from services.identity.errors import LinkInvalid
from services.identity.model.links import Purpose
from services.identity.model.passwords import check_password
from services.identity.model.sessions import RevokeReason
from services.identity.model.throttle import Factor, source_of
from services.identity.model.users import email_key
from services.identity.repository import IdentityRepositories
from services.identity.service.credentials import Credentials
from services.identity.service.ending import end_sessions
from services.identity.service.hashing import PasswordHashes
from services.identity.service.links import Links, nobody_asked
from services.identity.service.mails import Mails
from services.identity.service.throttling import Throttle
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.unit_of_work import Units


class Passwords:
    """Sets passwords, and ends the sessions that the old ones opened."""

    def __init__(
        self,
        units: Units[IdentityRepositories],
        clock: Clock,
        hashes: PasswordHashes,
        throttle: Throttle,
        credentials: Credentials,
        links: Links,
        mails: Mails,
    ) -> None:
        self._units = units
        self._clock = clock
        self._hashes = hashes
        self._throttle = throttle
        self._credentials = credentials
        self._links = links
        self._mails = mails

    def start_reset(self, email: str) -> None:
        """Mail a link to set a new password, if the address has a user."""
        now, key = self._clock.now(), email_key(email)
        with self._units.system() as uow:
            user = uow.repo.users.get_by_email(key)
            may_mail = self._throttle.take_mail(uow.repo, key, now)
            uow.commit()
        if user is None:
            nobody_asked(self._units, events_pb2.PasswordResetRequested())
            return
        with self._units.user(user.id) as uow:
            if may_mail:
                token = self._links.add(uow, user.id, Purpose.RESET_PASSWORD, user.email)
                uow.mail(self._mails.reset_password(user, token))
            uow.emit(user.name, events_pb2.PasswordResetRequested(user=user.name))
            uow.commit()

    def finish_reset(self, token: str, new_password: str) -> None:
        """Set a new password. Its user has just read the mail: the address is proven, and the source is known.

        Raises LinkInvalid, PasswordRefused or Overloaded.
        """
        link = self._links.find(token, Purpose.RESET_PASSWORD)
        check_password(new_password, email=link.email, field="new_password")
        with self._hashes.turn():
            encoded = self._hashes.hash(new_password)
        source = source_of(current_caller().source)
        with self._units.user(link.user_id) as uow:
            now = self._clock.now()
            user = uow.repo.users.lock(link.user_id)
            if user is None or uow.repo.links.lock(link) is None or email_key(link.email) != user.email_key:
                raise LinkInvalid
            uow.repo.users.set_password(user.id, encoded, now)
            if not user.email_verified:
                user = user.verified(now)
                uow.repo.users.save(user)
                uow.emit(user.name, events_pb2.EmailVerified(user=user.name))
            uow.repo.links.delete_all(user.id)
            uow.repo.users.remember_source(user.id, source, now)
            end_sessions(uow, user.id, RevokeReason.PASSWORD_RESET, now)
            uow.mail(self._mails.password_changed(user))
            uow.emit(user.name, events_pb2.PasswordReset(user=user.name))
            uow.commit()
        self._throttle.clear_pair(Factor.PASSWORD, user.email_key, source)

    def change(self, current_password: str, new_password: str) -> None:
        """Set a new password by the old one; the calling session stays.

        Raises PasswordWrong, PasswordRefused, SignInThrottled or Overloaded.
        """
        proven = self._credentials.own(current_password)
        check_password(new_password, email=proven.user.email, field="new_password")
        with self._hashes.turn():
            encoded = self._hashes.hash(new_password)
        with self._units.user() as uow:
            now = self._clock.now()
            user = self._credentials.still(uow, proven)
            uow.repo.users.set_password(user.id, encoded, now)
            uow.repo.links.delete(user.id, Purpose.RESET_PASSWORD)
            end_sessions(uow, user.id, RevokeReason.PASSWORD_CHANGED, now, kept=current_caller().session_id)
            uow.mail(self._mails.password_changed(user))
            uow.emit(user.name, events_pb2.PasswordChanged(user=user.name))
            uow.commit()
