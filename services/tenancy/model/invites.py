"""Invites: pending until accepted, declined, revoked or out of time."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from uuid import UUID

from services.kernel.errors import FieldsInvalid, FieldViolation
from services.tenancy.errors import InviteClosed, InviteExpired
from services.tenancy.model.names import INVITE, MEMBER, ROLE

DEFAULT_TTL = timedelta(days=7)
MAX_TTL = timedelta(days=30)


class InviteState(StrEnum):
    """What became of an invite."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Invite:
    """An invitation of one address, in lower case. `state` is the stored one: `as_of` knows the time."""

    workspace_id: UUID
    invite_id: UUID
    email: str
    role: str
    state: InviteState
    inviter_id: UUID
    expire_time: datetime
    create_time: datetime
    update_time: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return INVITE.format(workspace=self.workspace_id, invite=self.invite_id)

    @property
    def role_name(self) -> str:
        """The resource name of the role that accepting gives."""
        return ROLE.format(workspace=self.workspace_id, role=self.role)

    @property
    def inviter_name(self) -> str:
        """The resource name of who invited."""
        return MEMBER.format(workspace=self.workspace_id, member=self.inviter_id)

    def state_at(self, now: datetime) -> InviteState:
        """What has become of it by now."""
        if self.state is InviteState.PENDING and self.expire_time <= now:
            return InviteState.EXPIRED
        return self.state

    def as_of(self, now: datetime) -> Self:
        """In the state that it is in by now; the same one when that is the stored one."""
        state = self.state_at(now)
        return self if state is self.state else replace(self, state=state)

    def accepted(self, now: datetime) -> Self:
        """Accepted, once and in time. Raises InviteExpired or InviteClosed."""
        state = self.state_at(now)
        if state is InviteState.EXPIRED:
            raise InviteExpired(self.name)
        if state is not InviteState.PENDING:
            raise InviteClosed(self.name, state)
        return replace(self, state=InviteState.ACCEPTED, update_time=now)

    def declined(self, now: datetime) -> Self:
        """Declined, in time or not; the same one when it is so already. Raises InviteClosed."""
        return self._ended(InviteState.DECLINED, now)

    def revoked(self, now: datetime) -> Self:
        """Taken back; the same one when it is so already. Raises InviteClosed."""
        return self._ended(InviteState.REVOKED, now)

    def expired(self, now: datetime) -> Self:
        """Out of time for good, so that the address can be invited anew."""
        return replace(self, state=InviteState.EXPIRED, update_time=now)

    def resent(self, inviter_id: UUID, now: datetime) -> Self:
        """Pending again under a new inviter, for another week. Raises InviteClosed."""
        state = self.state_at(now)
        if state not in (InviteState.PENDING, InviteState.EXPIRED):
            raise InviteClosed(self.name, state)
        return replace(
            self,
            state=InviteState.PENDING,
            inviter_id=inviter_id,
            expire_time=now + DEFAULT_TTL,
            update_time=now,
        )

    def _ended(self, end: InviteState, now: datetime) -> Self:
        state = self.state_at(now)
        if state is end:
            return self
        if state not in (InviteState.PENDING, InviteState.EXPIRED):
            raise InviteClosed(self.name, state)
        return replace(self, state=end, update_time=now)


def expiry(wanted: datetime | None, now: datetime) -> datetime:
    """When a new invite runs out: as wanted within 30 days, or in 7 days. Raises FieldsInvalid."""
    if wanted is None:
        return now + DEFAULT_TTL
    if not now < wanted <= now + MAX_TTL:
        raise FieldsInvalid(FieldViolation("invite.expire_time", "must lie within the next 30 days"))
    return wanted
