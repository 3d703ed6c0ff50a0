"""Sessions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BindParameter, and_, bindparam, delete, func, insert, or_, select, update

from services.identity.model.sessions import RevokeReason, Session
from services.identity.tables import sessions
from services.kernel.db import Session as Transaction
from services.kernel.db import compiled

_c = sessions.c
_ID: BindParameter[UUID] = bindparam("session")
_USER: BindParameter[UUID] = bindparam("user")
_NOW: BindParameter[datetime] = bindparam("now")
_MARK: BindParameter[bytes] = bindparam("mark", type_=sessions.c.refresh_key.type)
_LIVE = and_(_c.revoke_time.is_(None), _c.expire_time > _NOW)

_ADD = compiled(insert(sessions).values({column.name: bindparam(column.name) for column in sessions.columns}))
_GET = compiled(select(sessions).where(_c.id == _ID))
_LOCK = compiled(select(sessions).where(_c.id == _ID, _c.user_id == _USER).with_for_update())
_ROTATE = compiled(
    update(sessions)
    .where(_c.id == _ID)
    .values(
        generation=bindparam("next_generation"),
        rotate_time=_NOW,
        last_used_time=_NOW,
        source=bindparam("address"),
        expire_time=bindparam("ends"),
    )
    .returning(*sessions.columns)
)
_TOUCH = compiled(
    update(sessions).where(_c.id == _ID, _c.last_used_time < bindparam("before")).values(last_used_time=_NOW)
)
_REVOKE = compiled(
    update(sessions)
    .where(_c.id == _ID, _c.user_id == _USER, _c.revoke_time.is_(None))
    .values(revoke_time=_NOW, revoke_reason=bindparam("reason"))
)
_REVOKE_OTHERS = compiled(
    update(sessions)
    .where(_c.user_id == _USER, _c.id.is_distinct_from(bindparam("kept", type_=_c.id.type)), _LIVE)
    .values(revoke_time=_NOW, revoke_reason=bindparam("reason"))
)
_PAGE = compiled(select(sessions).where(_c.user_id == _USER, _LIVE).order_by(_c.id.desc()).limit(bindparam("count")))
_PAGE_AFTER = compiled(
    select(sessions)
    .where(_c.user_id == _USER, _LIVE, _c.id < bindparam("after"))
    .order_by(_c.id.desc())
    .limit(bindparam("count"))
)
_ALL = compiled(select(sessions).where(_c.user_id == _USER).order_by(_c.id.desc()))
# Locked, and those of others left out: a refresh that runs meanwhile is neither hindered nor undone.
_SEALED_OTHERWISE = compiled(
    select(sessions)
    .where(func.substring(_c.refresh_key, 1, func.octet_length(_MARK)) != _MARK)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_SEAL = compiled(update(sessions).where(_c.id == _ID).values(refresh_key=bindparam("sealed")))
_SWEEP = compiled(
    delete(sessions).where(or_(_c.expire_time < bindparam("before"), _c.revoke_time < bindparam("before")))
)


class SessionRepository:
    """Reads and writes sessions."""

    def __init__(self, session: Transaction) -> None:
        self._session = session

    def add(self, session: Session) -> None:
        """Add a session."""
        self._session.run(_ADD, **{name: getattr(session, name) for name in Session.__slots__})

    def get(self, session_id: UUID) -> Session | None:
        """The session of this id."""
        return self._session.first(_GET, Session, session=session_id)

    def lock(self, session_id: UUID, user_id: UUID) -> Session | None:
        """The user's session of this id, held until the commit."""
        return self._session.first(_LOCK, Session, session=session_id, user=user_id)

    def rotate(
        self, session: Session, generation: int, now: datetime, *, source: str, expire_time: datetime
    ) -> Session:
        """The session, whose latest refresh token is of this generation now."""
        rotated = self._session.first(
            _ROTATE,
            Session,
            session=session.id,
            next_generation=generation,
            now=now,
            address=source,
            ends=expire_time,
        )
        if rotated is None:
            raise LookupError("the session is gone")
        return rotated

    def touch(self, session_id: UUID, now: datetime, before: datetime) -> bool:
        """Note a use, unless one was noted since `before`."""
        return self._session.run(_TOUCH, session=session_id, now=now, before=before) == 1

    def revoke(self, session_id: UUID, user_id: UUID, reason: RevokeReason, now: datetime) -> bool:
        """End the user's session; False where it was revoked before."""
        return self._session.run(_REVOKE, session=session_id, user=user_id, reason=reason.value, now=now) == 1

    def revoke_all(self, user_id: UUID, reason: RevokeReason, now: datetime, *, kept: UUID | None) -> int:
        """End every live session of the user but one; how many."""
        return self._session.run(_REVOKE_OTHERS, user=user_id, reason=reason.value, now=now, kept=kept)

    def list_live(self, user_id: UUID, now: datetime, *, after: UUID | None, count: int) -> list[Session]:
        """The user's live sessions, the latest first, after this id."""
        if after is None:
            return self._session.all(_PAGE, Session, user=user_id, now=now, count=count)
        return self._session.all(_PAGE_AFTER, Session, user=user_id, now=now, after=after, count=count)

    def list_all(self, user_id: UUID) -> list[Session]:
        """Every session of the user that is on record, the latest first."""
        return self._session.all(_ALL, Session, user=user_id)

    def list_sealed_otherwise(self, mark: bytes, count: int) -> list[Session]:
        """Some of the sessions whose key is not sealed under the master key of this mark."""
        return self._session.all(_SEALED_OTHERWISE, Session, mark=mark, count=count)

    def seal(self, session: Session, refresh_key: bytes) -> None:
        """Store the session's key as it is sealed now."""
        self._session.run(_SEAL, session=session.id, sealed=refresh_key)

    def sweep(self, before: datetime) -> int:
        """Forget the sessions that ended by then; how many."""
        return self._session.run(_SWEEP, before=before)
