"""Use cases of one's own account: see it, change it, take it along, delete it."""

from plinth.identity.v1 import events_pb2
from plinth.tenancy.v1 import member_service_pb2, member_service_pb2_grpc
from services.identity.errors import SignInRequired
from services.identity.model.personal_data import PersonalData
from services.identity.model.sessions import RECENT, OwnSession, RevokeReason
from services.identity.model.users import User
from services.identity.repository import IdentityRepositories
from services.identity.service.ending import tell_of_revoked
from services.identity.service.mails import Mails
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import ResourceNotFound
from services.kernel.etags import check_etag
from services.kernel.feed import UserSessionsRevoked
from services.kernel.names import USER
from services.kernel.unit_of_work import UnitOfWork, Units


class Profile:
    """The calling user's account."""

    def __init__(
        self,
        units: Units[IdentityRepositories],
        clock: Clock,
        members: member_service_pb2_grpc.MemberServiceStub,
        mails: Mails,
    ) -> None:
        self._units = units
        self._clock = clock
        self._members = members
        self._mails = mails

    def get(self) -> User:
        """The calling user."""
        with self._units.user() as uow:
            return _own(uow)

    def update(self, display_name: str | None, etag: str) -> User:
        """The calling user with this name; None leaves it. Raises EtagRequired or EtagMismatch."""
        with self._units.user() as uow:
            user = _own(uow, lock=True)
            check_etag(etag, user.version, user.name)
            renamed = user if display_name is None else user.renamed(display_name, self._clock.now())
            if renamed is not user:
                uow.repo.users.save(renamed)
                uow.emit(user.name, events_pb2.UserUpdated(user=user.name, fields=["display_name"]))
                uow.commit()
            return renamed

    def export(self) -> PersonalData:
        """All that identity holds about the calling user."""
        now, current = self._clock.now(), current_caller().require_session()
        with self._units.user() as uow:
            user = _own(uow)
            return PersonalData(
                user=user,
                sessions=[OwnSession(s, s.id == current) for s in uow.repo.sessions.list_all(user.id)],
                api_keys=uow.repo.api_keys.list_by_creator(user.id),
                known_sources=uow.repo.users.known_sources(user.id),
                links=[link for link in uow.repo.links.list_by_user(user.id) if link.expire_time > now],
                export_time=now,
            )

    def delete(self, etag: str) -> None:
        """Delete the calling user, who signed in lately.

        Raises EtagRequired, EtagMismatch, SignInRequired, or tenancy's SOLE_OWNER while a workspace would be orphaned.
        """
        session_id = current_caller().require_session()
        with self._units.user() as uow:
            user = _own(uow)
            check_etag(etag, user.version, user.name)
            session = uow.repo.sessions.get(session_id)
            if session is None or not session.is_recent(self._clock.now()):
                raise SignInRequired(RECENT)
        # Memberships first: should the rest fail, the user is still there to try again.
        self._members.RemoveUser(member_service_pb2.RemoveUserRequest(user=user.name))
        with self._units.user() as uow:
            user = _own(uow, lock=True)
            keys = uow.repo.api_keys.revoke_by_creator(user.id, self._clock.now())
            tell_of_revoked(uow, keys, RevokeReason.USER_DELETED)
            uow.repo.users.delete(user.id)
            uow.mail(self._mails.account_deleted(user))
            uow.emit(user.name, events_pb2.UserDeleted(user=user.name))
            uow.invalidate(UserSessionsRevoked(user.id))
            uow.commit()


def _own(uow: UnitOfWork[IdentityRepositories], *, lock: bool = False) -> User:
    user_id = current_caller().require_user()
    user = uow.repo.users.lock(user_id) if lock else uow.repo.users.get(user_id)
    if user is None:
        raise ResourceNotFound(USER.format(user=user_id))
    return user
