"""Use cases of another address: ask for it, prove it."""

from uuid import UUID

from plinth.identity.v1 import events_pb2
from services.identity.errors import EmailTaken, LinkInvalid
from services.identity.model.links import Purpose
from services.identity.model.sessions import RevokeReason
from services.identity.model.users import User, email_key
from services.identity.repository import IdentityRepositories
from services.identity.service.apart import apart
from services.identity.service.credentials import Credentials
from services.identity.service.ending import end_sessions
from services.identity.service.links import Links
from services.identity.service.mails import Mails
from services.identity.service.throttling import Throttle
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.feed import UserSessionsRevoked
from services.kernel.unit_of_work import Units


class EmailChange:
    """Moves users to another address."""

    def __init__(
        self,
        units: Units[IdentityRepositories],
        clock: Clock,
        throttle: Throttle,
        credentials: Credentials,
        links: Links,
        mails: Mails,
    ) -> None:
        self._units = units
        self._clock = clock
        self._throttle = throttle
        self._credentials = credentials
        self._links = links
        self._mails = mails

    def start(self, new_email: str, password: str) -> None:
        """Mail a link to the new address and a notice to the old one. Raises PasswordWrong or SignInThrottled."""
        proven = self._credentials.own(password)
        key = email_key(new_email)
        holder, may_mail = apart(lambda: self._look_up(key))
        with self._units.user() as uow:
            user = self._credentials.still(uow, proven)
            if may_mail and holder is not None and holder.email_verified and holder.id != user.id:
                uow.mail(self._mails.already_registered(holder))
            elif may_mail:
                token = self._links.add(uow, user.id, Purpose.CHANGE_EMAIL, new_email)
                uow.mail(self._mails.change_email(new_email, token))
            uow.mail(self._mails.change_email_notice(user, new_email))
            uow.emit(user.name, events_pb2.EmailChangeRequested(user=user.name))
            uow.commit()

    def finish(self, token: str) -> User:
        """Give the calling user the address that the link was mailed to. Raises LinkInvalid or EmailTaken."""
        caller = current_caller()
        link = self._links.find(token, Purpose.CHANGE_EMAIL)
        if link.user_id != caller.require_user():
            raise LinkInvalid
        self._make_way(email_key(link.email), link.user_id)
        with self._units.user() as uow:
            now = self._clock.now()
            user = uow.repo.users.lock(link.user_id)
            if user is None or uow.repo.links.lock(link) is None:
                raise LinkInvalid
            changed = user.moved_to(link.email, now)
            uow.repo.users.save(changed)
            # Links that went to the old address end with it.
            uow.repo.links.delete_all(user.id)
            end_sessions(uow, user.id, RevokeReason.EMAIL_CHANGED, now, kept=caller.session_id)
            uow.mail(self._mails.email_changed(changed, user.email))
            uow.emit(user.name, events_pb2.EmailChanged(user=user.name))
            uow.commit()
            return changed

    def _look_up(self, key: str) -> tuple[User | None, bool]:
        with self._units.system() as uow:
            holder = uow.repo.users.get_by_email(key)
            may_mail = self._throttle.take_mail(uow.repo, key, self._clock.now())
            uow.commit()
            return holder, may_mail

    def _make_way(self, key: str, user_id: UUID) -> None:
        """A registration that never proved this address gives way to who has just done so. Raises EmailTaken."""
        with self._units.system() as uow:
            holder = uow.repo.users.get_by_email(key)
        if holder is None or holder.id == user_id:
            return
        if holder.email_verified:
            raise EmailTaken
        apart(lambda: self._delete_unproven(holder.id))

    def _delete_unproven(self, user_id: UUID) -> None:
        with self._units.user(user_id) as uow:
            user = uow.repo.users.lock(user_id)
            if user is None:
                return
            if user.email_verified:
                raise EmailTaken
            uow.repo.users.delete(user_id)
            uow.emit(user.name, events_pb2.UserDeleted(user=user.name))
            uow.invalidate(UserSessionsRevoked(user_id))
            uow.commit()
