"""Invites, as rows. Of a token only the hash is kept."""

from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update

from services.kernel.db import Session, Statement, compiled
from services.tenancy.model.invites import Invite, InviteState
from services.tenancy.tables import invites

_LAST = UUID(int=2**128 - 1)

_t = invites.c
_COLUMNS = [c for c in invites.columns if c.computed is None and c.name != "token_hash"]
_pending = _t.state == InviteState.PENDING.value
_by_id = and_(_t.workspace_id == bindparam("workspace"), _t.invite_id == bindparam("invite"))
_ADD = compiled(insert(invites).values({c.name: bindparam(c.name) for c in (*_COLUMNS, _t.token_hash)}))
_GET = compiled(select(*_COLUMNS).where(_by_id))
_BY_TOKEN = compiled(select(*_COLUMNS).where(_t.token_hash == bindparam("token_hash")))
_BY_ID_AND_TOKEN = compiled(select(*_COLUMNS).where(_by_id, _t.token_hash == bindparam("hash")).with_for_update())
_PENDING_FOR = compiled(
    select(*_COLUMNS).where(_t.workspace_id == bindparam("workspace"), _t.email == bindparam("address"), _pending)
)
_SAVE = compiled(update(invites).where(_by_id).values(state=bindparam("state"), update_time=bindparam("update_time")))
_RENEW = compiled(
    update(invites)
    .where(_by_id)
    .values(
        state=bindparam("state"),
        update_time=bindparam("update_time"),
        inviter_id=bindparam("inviter_id"),
        expire_time=bindparam("expire_time"),
        token_hash=bindparam("token_hash"),
    )
)
_EXPIRE_WITH_ROLE = compiled(
    update(invites)
    .where(
        _t.workspace_id == bindparam("workspace"),
        _t.pending_role_id == bindparam("role"),
        _pending,
        _t.expire_time <= bindparam("now"),
    )
    .values(state=InviteState.EXPIRED.value)
)

_unanswered = or_(_pending, _t.state == InviteState.EXPIRED.value)
_SWEEP = compiled(
    delete(invites).where(
        or_(
            and_(_unanswered, _t.expire_time <= bindparam("before")),
            and_(~_unanswered, _t.update_time <= bindparam("before")),
        )
    )
)


class InviteRepository:
    """Invites of the session's workspace; in a system session, of any. An address has one pending invite in each."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, invite: Invite, token_hash: bytes) -> None:
        """Insert it."""
        self._session.run(
            _ADD,
            workspace_id=invite.workspace_id,
            invite_id=invite.invite_id,
            email=invite.email,
            role=invite.role,
            state=invite.state.value,
            inviter_id=invite.inviter_id,
            expire_time=invite.expire_time,
            create_time=invite.create_time,
            update_time=invite.update_time,
            token_hash=token_hash,
        )

    def get(self, workspace_id: UUID, invite_id: UUID) -> Invite | None:
        """The invite."""
        return self._session.first(_GET, _invite, workspace=workspace_id, invite=invite_id)

    def get_by_token(self, token_hash: bytes) -> Invite | None:
        """The invite that a token opens, wherever it is: for a system session."""
        return self._session.first(_BY_TOKEN, _invite, token_hash=token_hash)

    def lock_by_token(self, invite: Invite, token_hash: bytes) -> Invite | None:
        """The same invite until the commit, unless its token was replaced meanwhile."""
        return self._session.first(
            _BY_ID_AND_TOKEN, _invite, workspace=invite.workspace_id, invite=invite.invite_id, hash=token_hash
        )

    def pending_for(self, workspace_id: UUID, email: str) -> Invite | None:
        """The invite of an address that was not answered; it may have run out of time."""
        return self._session.first(_PENDING_FOR, _invite, workspace=workspace_id, address=email)

    def save(self, invite: Invite) -> None:
        """Write its new state."""
        self._session.run(
            _SAVE,
            workspace=invite.workspace_id,
            invite=invite.invite_id,
            state=invite.state.value,
            update_time=invite.update_time,
        )

    def renew(self, invite: Invite, token_hash: bytes) -> None:
        """Write its new values under a new token; the old one is dead."""
        self._session.run(
            _RENEW,
            workspace=invite.workspace_id,
            invite=invite.invite_id,
            state=invite.state.value,
            update_time=invite.update_time,
            inviter_id=invite.inviter_id,
            expire_time=invite.expire_time,
            token_hash=token_hash,
        )

    def expire_with_role(self, workspace_id: UUID, role_id: UUID, now: datetime) -> None:
        """Mark what has run out of time, so that it keeps no custom role in use."""
        self._session.run(_EXPIRE_WITH_ROLE, workspace=workspace_id, role=role_id, now=now)

    def sweep(self, before: datetime) -> int:
        """Delete what was answered, taken back or out of time by then; how many. In a system session."""
        return self._session.run(_SWEEP, before=before)

    def list_newest(
        self, workspace_id: UUID, state: InviteState | None, after: UUID | None, count: int, now: datetime
    ) -> list[Invite]:
        """Invites in a state (None: in any), newest first, after the one named."""
        return self._session.all(
            _newest(state), _invite, workspace=workspace_id, after=after or _LAST, count=count, now=now
        )


@cache
def _newest(state: InviteState | None) -> Statement:
    """Invites in that state at `now`, newest first; compiled once for each."""
    statement = (
        select(*_COLUMNS)
        .where(_t.workspace_id == bindparam("workspace"), _t.invite_id < bindparam("after"))
        .order_by(_t.invite_id.desc())
        .limit(bindparam("count"))
    )
    match state:
        case None:
            pass
        case InviteState.PENDING:
            statement = statement.where(_pending, _t.expire_time > bindparam("now"))
        case InviteState.EXPIRED:
            out_of_time = and_(_pending, _t.expire_time <= bindparam("now"))
            statement = statement.where(out_of_time | (_t.state == state.value))
        case _:
            statement = statement.where(_t.state == state.value)
    return compiled(statement)


def _invite(*, state: str, **columns: object) -> Invite:
    return Invite(state=InviteState(state), **columns)  # type: ignore[arg-type]  # the columns of the table, by name
