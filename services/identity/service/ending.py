"""Ending sessions and API keys: rows, event and invalidation, always together."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from plinth.identity.v1 import events_pb2
from services.identity.model.api_keys import ApiKey
from services.identity.model.sessions import RevokeReason, Session
from services.identity.repository import IdentityRepositories
from services.kernel.feed import ApiKeyRevoked, SessionRevoked, UserSessionsRevoked
from services.kernel.names import USER
from services.kernel.unit_of_work import UnitOfWork


def wire_reason(reason: RevokeReason) -> events_pb2.RevokeReason.ValueType:
    """The reason as the contract writes it."""
    return events_pb2.RevokeReason.Value(f"REVOKE_REASON_{reason.value}")


def end_session(uow: UnitOfWork[IdentityRepositories], session: Session, reason: RevokeReason, now: datetime) -> bool:
    """End one session; False, and no trace, where it was revoked before."""
    if not uow.repo.sessions.revoke(session.id, session.user_id, reason, now):
        return False
    name = USER.format(user=session.user_id)
    uow.emit(name, events_pb2.SessionRevoked(user=name, session_id=str(session.id), reason=wire_reason(reason)))
    uow.invalidate(SessionRevoked(session.id))
    return True


def end_sessions(
    uow: UnitOfWork[IdentityRepositories],
    user_id: UUID,
    reason: RevokeReason,
    now: datetime,
    *,
    kept: UUID | None = None,
) -> int:
    """End every session of a user but the one to keep; how many."""
    count = uow.repo.sessions.revoke_all(user_id, reason, now, kept=kept)
    if count:
        name = USER.format(user=user_id)
        uow.emit(
            name,
            events_pb2.SessionsRevoked(
                user=name, kept_session_id=str(kept or ""), count=count, reason=wire_reason(reason)
            ),
        )
        uow.invalidate(UserSessionsRevoked(user_id))
    return count


def tell_of_revoked(
    uow: UnitOfWork[IdentityRepositories], keys: Iterable[ApiKey], reason: RevokeReason | None = None
) -> None:
    """Of keys that this unit revokes; `reason` is None where a person revokes a single one."""
    why = events_pb2.REVOKE_REASON_UNSPECIFIED if reason is None else wire_reason(reason)
    for key in keys:
        uow.emit(key.name, events_pb2.ApiKeyRevoked(api_key=key.name, reason=why), workspace_id=key.workspace_id)
        uow.invalidate(ApiKeyRevoked(key.id))
