"""Use cases of a registration: register, prove the address, ask for the proof again.

An address belongs to whoever reads its mail, not to whoever registers it first. Two rules follow.

- A link proves the address for the registration that it was mailed for, and for no other. Registering an address again
  that is not proven yet changes nothing; its link carries its own password, which takes the place of the first one when
  the link is used, and ends the sessions that the first one opened. So a stranger who registers somebody's address
  ahead of them (or after them) gains nothing unless the owner follows the stranger's own link.
- Where an address was registered more than once, a new link can no longer tell which registration its reader means: it
  sets a new password instead.

What a registration answers, and how long it takes, does not depend on the address: the hashing is always done, and the
rows that follow are about as many.
"""

from uuid import UUID

from plinth.identity.v1 import events_pb2
from services.identity.errors import LinkInvalid
from services.identity.model.links import Link, Purpose
from services.identity.model.passwords import check_password
from services.identity.model.sessions import RevokeReason
from services.identity.model.users import User, email_key
from services.identity.repository import IdentityRepositories
from services.identity.service.ending import end_sessions
from services.identity.service.hashing import PasswordHashes
from services.identity.service.links import Links, nobody_asked, pretend
from services.identity.service.mails import Mails
from services.identity.service.throttling import Throttle
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.ids import new_id
from services.kernel.unit_of_work import UnitOfWork, Units


class Registration:
    """Lets people in for the first time."""

    def __init__(
        self,
        units: Units[IdentityRepositories],
        clock: Clock,
        hashes: PasswordHashes,
        throttle: Throttle,
        links: Links,
        mails: Mails,
    ) -> None:
        self._units = units
        self._clock = clock
        self._hashes = hashes
        self._throttle = throttle
        self._links = links
        self._mails = mails

    def register(self, email: str, password: str, display_name: str) -> None:
        """Register a user, or tell the address's owner that somebody tried. Raises PasswordRefused or Overloaded."""
        check_password(password, email=email, field="password")
        with self._hashes.turn():
            encoded = self._hashes.hash(password)
        now, key = self._clock.now(), email_key(email)
        with self._units.system() as uow:
            existing = uow.repo.users.get_by_email(key)
            may_mail = self._throttle.take_mail(uow.repo, key, now)
            uow.commit()
        user = User(new_id(), email, key, False, display_name, 1, now, now)
        if existing is None and not self._add(user, encoded, may_mail=may_mail):
            # Somebody registered the address this very moment.
            with self._units.system() as uow:
                existing = uow.repo.users.get_by_email(key)
        if existing is not None:
            self._register_again(existing.id, user, encoded, may_mail=may_mail)

    def verify(self, token: str) -> None:
        """Prove an address. Raises LinkInvalid."""
        link = self._links.find(token, Purpose.VERIFY_EMAIL)
        with self._units.user(link.user_id) as uow:
            user = uow.repo.users.lock(link.user_id)
            if user is None or uow.repo.links.lock(link) is None or email_key(link.email) != user.email_key:
                raise LinkInvalid
            self._take_effect(uow, user, link)
            uow.commit()

    def resend(self, email: str) -> None:
        """Mail a new link, if the address waits for one."""
        now, key = self._clock.now(), email_key(email)
        with self._units.system() as uow:
            user = uow.repo.users.get_by_email(key)
            may_mail = self._throttle.take_mail(uow.repo, key, now)
            uow.commit()
        if user is None or user.email_verified:
            nobody_asked(self._units, events_pb2.VerificationRequested())
            return
        with self._units.user(user.id) as uow:
            if may_mail:
                self._mail_again(uow, user)
            uow.emit(user.name, events_pb2.VerificationRequested(user=user.name))
            uow.commit()

    def _add(self, user: User, encoded: str, *, may_mail: bool) -> bool:
        with self._units.user(user.id) as uow:
            if not uow.repo.users.add(user):
                return False
            uow.repo.users.add_password(user.id, encoded, user.create_time)
            if may_mail:
                uow.mail(self._mails.verify(user, self._links.add(uow, user.id, Purpose.VERIFY_EMAIL, user.email)))
            uow.emit(user.name, events_pb2.UserRegistered(user=user.name))
            uow.commit()
            return True

    def _register_again(self, user_id: UUID, attempt: User, encoded: str, *, may_mail: bool) -> None:
        with self._units.user(user_id) as uow:
            user = uow.repo.users.lock(user_id)
            if user is None:
                return
            # For the password that is not stored.
            pretend(uow, statements=1)
            if may_mail and user.email_verified:
                # For the link that the mail does not hold.
                pretend(uow, statements=1)
                uow.mail(self._mails.already_registered(user))
            elif may_mail:
                token = self._links.add(
                    uow,
                    user.id,
                    Purpose.VERIFY_EMAIL,
                    user.email,
                    password_hash=encoded,
                    display_name=attempt.display_name,
                )
                source = current_caller().source
                uow.mail(self._mails.verify_repeated(user.email, source, token))
            uow.emit(user.name, events_pb2.RegistrationRepeated(user=user.name))
            uow.commit()

    def _take_effect(self, uow: UnitOfWork[IdentityRepositories], user: User, link: Link) -> None:
        now = self._clock.now()
        display_name: str | None = None
        if link.password_hash is not None:
            uow.repo.users.set_password(user.id, link.password_hash, now)
            display_name = link.display_name or ""
            end_sessions(uow, user.id, RevokeReason.REGISTRATION_REPLACED, now)
        uow.repo.users.save(user.verified(now, display_name=display_name))
        # The links of other registrations are somebody else's.
        uow.repo.links.delete(user.id, Purpose.VERIFY_EMAIL)
        uow.emit(user.name, events_pb2.EmailVerified(user=user.name))

    def _mail_again(self, uow: UnitOfWork[IdentityRepositories], user: User) -> None:
        if any(link.is_repeated_registration for link in uow.repo.links.list_by_user(user.id)):
            token = self._links.add(uow, user.id, Purpose.RESET_PASSWORD, user.email)
            uow.mail(self._mails.settle_registration(user, token))
        else:
            token = self._links.add(uow, user.id, Purpose.VERIFY_EMAIL, user.email)
            uow.mail(self._mails.verify(user, token))
