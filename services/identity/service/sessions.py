"""Use cases of sessions: see them, end them, tell whether one lives."""

from datetime import timedelta
from uuid import UUID

from services.identity.model.sessions import OwnSession, RevokeReason, Session, SessionState
from services.identity.repository import IdentityRepositories
from services.identity.service.ending import end_session, end_sessions
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import ResourceNotFound
from services.kernel.paging import Pager
from services.kernel.unit_of_work import Units

# A use is noted at most so often.
USE_NOTED_EVERY = timedelta(minutes=1)


class Sessions:
    """The sessions of the calling user; and for the chain, any."""

    def __init__(self, units: Units[IdentityRepositories], clock: Clock, pager: Pager) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager

    def list_own(self, page_size: int, page_token: str) -> tuple[list[OwnSession], str]:
        """A page of the live sessions, the latest first, and the token of the next. Raises PageTokenInvalid."""
        caller = current_caller()
        user_id, current = caller.require_user(), caller.require_session()
        page = self._pager.page(page_token, page_size, "ListSessions", str(user_id))
        with self._units.user() as uow:
            found = uow.repo.sessions.list_live(user_id, self._clock.now(), after=page.after_id(), count=page.count)
        shown, next_token = self._pager.cut(page, found, lambda session: (session.id,))
        return [OwnSession(session, session.id == current) for session in shown], next_token

    def revoke(self, session_id: UUID) -> None:
        """End one session of the calling user. Raises ResourceNotFound for one that is not theirs."""
        with self._units.user() as uow:
            session = uow.repo.sessions.lock(session_id, current_caller().require_user())
            if session is None:
                raise ResourceNotFound(Session.name_of(session_id))
            end_session(uow, session, RevokeReason.REVOKED, self._clock.now())
            uow.commit()

    def revoke_others(self) -> int:
        """End every session of the calling user but the calling one; how many."""
        caller = current_caller()
        user_id, kept = caller.require_user(), caller.require_session()
        with self._units.user() as uow:
            count = end_sessions(uow, user_id, RevokeReason.REVOKED, self._clock.now(), kept=kept)
            uow.commit()
            return count

    def state(self, session_id: UUID) -> SessionState | None:
        """What is true of a session now; None for one that does not live. Notes the use."""
        now = self._clock.now()
        with self._units.system() as uow:
            session = uow.repo.sessions.get(session_id)
            if session is None or not session.is_live(now):
                return None
            operator = uow.repo.users.is_operator(session.user_id)
            if uow.repo.sessions.touch(session_id, now, now - USE_NOTED_EVERY):
                uow.commit()
        return SessionState(session.user_id, session.expire_time, operator)
