"""Use cases of InviteService. The token goes into the mail and nowhere else; of it the hash alone is kept."""

from datetime import datetime
from uuid import UUID

from plinth.tenancy.v1 import events_pb2
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import ResourceNotFound
from services.kernel.feed import GrantChanged
from services.kernel.ids import new_id
from services.kernel.mail import Mail
from services.kernel.paging import Pager
from services.kernel.secrets import hash_token, new_token
from services.kernel.wire import timestamp
from services.tenancy.errors import InviteNotFound, InvitePending, InviterLacksRole, MemberExists
from services.tenancy.model.invites import Invite, InviteState, expiry
from services.tenancy.model.names import INVITE, MEMBER
from services.tenancy.model.roles import MEMBERS_INVITE, Catalogue, role_id_in
from services.tenancy.model.workspaces import Member, Person, Workspace
from services.tenancy.service.authority import (
    TenancyUnitOfWork,
    TenancyUnits,
    held_by_caller,
    held_by_user,
    lock_living,
    role_of,
)
from services.tenancy.service.people import People


class InviteService:
    """Invitations by e-mail: sent, sent again, taken back, accepted and declined."""

    def __init__(
        self, units: TenancyUnits, clock: Clock, pager: Pager, people: People, catalogue: Catalogue, public_url: str
    ) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._people = people
        self._catalogue = catalogue
        self._accept_url = f"{public_url.rstrip('/')}/invites/accept"

    def create(self, workspace_id: UUID, email: str, role_name: str, expire_time: datetime | None) -> Invite:
        """A new invite, its link on the way by mail.

        Raises FieldsInvalid, ResourceNotFound, RoleAboveOwn, MemberExists or InvitePending.
        """
        now = self._clock.now()
        email = email.lower()
        invite = Invite(
            workspace_id,
            new_id(),
            email,
            role_id_in(workspace_id, role_name, field="invite.role"),
            InviteState.PENDING,
            current_caller().require_user(),
            expiry(expire_time, now),
            now,
            now,
        )
        inviter = self._people.get(invite.inviter_id)
        invited = self._people.with_email(email)
        token = new_token()
        with self._units() as uow:
            workspace = lock_living(uow, workspace_id)
            self._check_role(uow, invite, now)
            if invited is not None and uow.repo.members.get(workspace_id, invited.user_id) is not None:
                raise MemberExists(MEMBER.format(workspace=workspace_id, member=invited.user_id))
            self._make_room(uow, invite, now)
            uow.repo.invites.add(invite, hash_token(token))
            event = events_pb2.InviteCreated(
                invite=invite.name, role=invite.role_name, expire_time=timestamp(invite.expire_time)
            )
            uow.emit(invite.name, event)
            uow.mail(self._letter(invite, workspace, inviter, token))
            uow.commit()
        return invite

    def get(self, workspace_id: UUID, invite_id: UUID) -> Invite:
        """An invite, in its state by now. Raises ResourceNotFound."""
        with self._units() as uow:
            return _invite(uow, workspace_id, invite_id).as_of(self._clock.now())

    def list_invites(
        self, workspace_id: UUID, state: InviteState | None, page_size: int, page_token: str
    ) -> tuple[list[Invite], str]:
        """A page of invites in a state by now (None: in any), and the token of the next. Raises PageTokenInvalid."""
        now = self._clock.now()
        page = self._pager.page(page_token, page_size, "ListInvites", str(workspace_id), state or "")
        with self._units() as uow:
            found = uow.repo.invites.list_newest(workspace_id, state, page.after_id(), page.count, now)
        shown, next_token = self._pager.cut(page, found, lambda invite: (invite.invite_id,))
        return [invite.as_of(now) for invite in shown], next_token

    def resend(self, workspace_id: UUID, invite_id: UUID) -> Invite:
        """The invite under a new link, in the caller's name.

        Raises ResourceNotFound, RoleAboveOwn, InviteClosed, or InvitePending when the address was invited anew since.
        """
        now = self._clock.now()
        inviter = self._people.get(current_caller().require_user())
        token = new_token()
        with self._units() as uow:
            workspace = lock_living(uow, workspace_id)
            before = _invite(uow, workspace_id, invite_id)
            after = before.resent(inviter.user_id, now)
            self._check_role(uow, after, now)
            self._make_room(uow, after, now)
            uow.repo.invites.renew(after, hash_token(token))
            event = events_pb2.InviteResent(invite=after.name, expire_time=timestamp(after.expire_time))
            uow.emit(after.name, event)
            uow.mail(self._letter(after, workspace, inviter, token))
            uow.commit()
        return after

    def revoke(self, workspace_id: UUID, invite_id: UUID) -> Invite:
        """The invite, taken back. Raises ResourceNotFound or InviteClosed."""
        with self._units() as uow:
            lock_living(uow, workspace_id)
            before = _invite(uow, workspace_id, invite_id)
            after = before.revoked(self._clock.now())
            if after is not before:
                uow.repo.invites.save(after)
                uow.emit(after.name, events_pb2.InviteRevoked(invite=after.name))
                uow.commit()
        return after

    def accept(self, token: str) -> tuple[Workspace, Member, Person]:
        """Join. The workspace, and the caller as a member of it.

        Raises EmailNotVerified before it looks at the token, InviteNotFound for any token that is not for the caller,
        InviteExpired, InviteClosed or InviterLacksRole.
        """
        person, known = self._find(token)
        now = self._clock.now()
        with self._units(known.workspace_id) as uow:
            # No name of the workspace to who is not in it yet: a deleted one is an unknown invite.
            workspace = uow.repo.workspaces.lock(known.workspace_id)
            before = uow.repo.invites.lock_by_token(known, hash_token(token))
            if workspace is None or workspace.deleted or before is None:
                raise InviteNotFound
            member = uow.repo.members.get(workspace.workspace_id, person.user_id)
            if member is None:
                after = before.accepted(now)
                member = self._join(uow, after, person, now)
            elif before.state_at(now) is InviteState.PENDING:
                after = before.accepted(now)
            else:
                return workspace, member, person
            uow.repo.invites.save(after)
            uow.emit(after.name, events_pb2.InviteAccepted(invite=after.name, member=member.name))
            uow.commit()
        return workspace, member, person

    def decline(self, token: str) -> None:
        """Say no. Raises as `accept` does, but for what concerns joining."""
        _, known = self._find(token)
        with self._units(known.workspace_id) as uow:
            workspace = uow.repo.workspaces.lock(known.workspace_id)
            before = uow.repo.invites.lock_by_token(known, hash_token(token))
            if workspace is None or workspace.deleted or before is None:
                raise InviteNotFound
            after = before.declined(self._clock.now())
            if after is not before:
                uow.repo.invites.save(after)
                uow.emit(after.name, events_pb2.InviteDeclined(invite=after.name))
                uow.commit()

    def _find(self, token: str) -> tuple[Person, Invite]:
        """The caller, and the invite that the token opens for them."""
        person = self._people.verified(current_caller().require_user())
        with self._units.system() as uow:
            invite = uow.repo.invites.get_by_token(hash_token(token))
        if invite is None or not person.has_email(invite.email):
            raise InviteNotFound
        return person, invite

    def _join(self, uow: TenancyUnitOfWork, invite: Invite, person: Person, now: datetime) -> Member:
        """The role is measured against what the inviter may do today, not on the day of the invite."""
        held = held_by_user(uow, self._catalogue, invite.workspace_id, invite.inviter_id, now)
        role = role_of(uow, self._catalogue, invite.workspace_id, invite.role)
        if MEMBERS_INVITE not in held or not role.permissions <= held:
            raise InviterLacksRole(invite.name)
        member = Member(invite.workspace_id, person.user_id, invite.role, 1, now, now)
        uow.repo.members.add(member)
        uow.emit(member.name, events_pb2.MemberAdded(member=member.name, role=member.role_name, invite=invite.name))
        uow.invalidate(GrantChanged(member.workspace_id, member.user_id))
        return member

    def _check_role(self, uow: TenancyUnitOfWork, invite: Invite, now: datetime) -> None:
        held = held_by_caller(uow, self._catalogue, invite.workspace_id, now)
        role_of(uow, self._catalogue, invite.workspace_id, invite.role).require_within(held)

    def _make_room(self, uow: TenancyUnitOfWork, invite: Invite, now: datetime) -> None:
        """An address has one pending invite: another one is in the way, unless its time has run out."""
        other = uow.repo.invites.pending_for(invite.workspace_id, invite.email)
        if other is None or other.invite_id == invite.invite_id:
            return
        if other.state_at(now) is InviteState.PENDING:
            raise InvitePending(other.name)
        uow.repo.invites.save(other.expired(now))

    def _letter(self, invite: Invite, workspace: Workspace, inviter: Person, token: str) -> Mail:
        who = _one_line(inviter.display_name) or "Somebody"
        where = _one_line(workspace.display_name)
        text = (
            f"{who} invites you to the workspace “{where}”.\n\n"
            f"To join, sign in or register with {invite.email}, and open this link:\n\n"
            f"{self._accept_url}?token={token}\n\n"
            f"It works once, until {invite.expire_time:%Y-%m-%d %H:%M} UTC.\n"
            "If you did not expect it, do nothing.\n"
        )
        return Mail(invite.email, f"Invitation to {where}", text, "invite")


def _invite(uow: TenancyUnitOfWork, workspace_id: UUID, invite_id: UUID) -> Invite:
    invite = uow.repo.invites.get(workspace_id, invite_id)
    if invite is None:
        raise ResourceNotFound(INVITE.format(workspace=workspace_id, invite=invite_id))
    return invite


def _one_line(text: str) -> str:
    """A name must not end a header or a line of the mail, whatever kind of line break it holds."""
    return " ".join(text.split())
