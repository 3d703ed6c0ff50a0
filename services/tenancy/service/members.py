"""Use cases of MemberService. Whatever may end an ownership happens under the workspace's lock."""

from datetime import datetime
from uuid import UUID

from google.protobuf.message import Message

from plinth.tenancy.v1 import events_pb2
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import FieldsInvalid, FieldViolation, PageTokenInvalid, ResourceNotFound
from services.kernel.etags import check_etag
from services.kernel.feed import GrantChanged
from services.kernel.paging import Pager
from services.tenancy.errors import LastOwner, SoleOwner
from services.tenancy.model.names import MEMBER
from services.tenancy.model.roles import ADMIN, OWNER, Catalogue, role_id_in
from services.tenancy.model.workspaces import Member, Person, require_other_owner, user_id_in
from services.tenancy.service.authority import TenancyUnitOfWork, TenancyUnits, held_by_caller, lock_living, role_of
from services.tenancy.service.people import People

# A member and the user behind it; None once the account is gone.
Known = tuple[Member, Person | None]


class MemberService:
    """Who is in a workspace, and in which role."""

    def __init__(self, units: TenancyUnits, clock: Clock, pager: Pager, people: People, catalogue: Catalogue) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._people = people
        self._catalogue = catalogue

    def get(self, workspace_id: UUID, user_id: UUID) -> Known:
        """A member. Raises ResourceNotFound."""
        with self._units() as uow:
            member = _member(uow, workspace_id, user_id)
        return self._known(member)[0]

    def list_members(self, workspace_id: UUID, page_size: int, page_token: str) -> tuple[list[Known], str]:
        """A page of members, and the token of the next. Raises PageTokenInvalid."""
        page = self._pager.page(page_token, page_size, "ListMembers", str(workspace_id))
        with self._units() as uow:
            found = uow.repo.members.list_by_join(workspace_id, _after(page.after), page.count)
        shown, next_token = self._pager.cut(page, found, lambda member: (member.create_time, member.user_id))
        return self._known(*shown), next_token

    def change_role(self, workspace_id: UUID, user_id: UUID, etag: str, role_name: str | None) -> Known:
        """The member in another role; None leaves it.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, FieldsInvalid, RoleAboveOwn or LastOwner.
        """
        if role_name == "":
            raise FieldsInvalid(FieldViolation("member.role", "must not be empty"))
        now = self._clock.now()
        with self._units() as uow:
            lock_living(uow, workspace_id)
            before = _member(uow, workspace_id, user_id)
            check_etag(etag, before.version, before.name)
            after = before
            if role_name is not None:
                after = before.with_role(role_id_in(workspace_id, role_name, field="member.role"), now)
            if after is not before:
                held = held_by_caller(uow, self._catalogue, workspace_id, now)
                role_of(uow, self._catalogue, workspace_id, before.role).require_within(held)
                role_of(uow, self._catalogue, workspace_id, after.role).require_within(held)
                require_other_owner(before, uow.repo.members.owners(workspace_id))
                self._change(uow, before, after)
                uow.commit()
        return self._known(after)[0]

    def remove(self, workspace_id: UUID, user_id: UUID, etag: str) -> None:
        """End a membership. Raises ResourceNotFound, EtagRequired, EtagMismatch, RoleAboveOwn or LastOwner."""
        with self._units() as uow:
            lock_living(uow, workspace_id)
            member = _member(uow, workspace_id, user_id)
            check_etag(etag, member.version, member.name)
            held = held_by_caller(uow, self._catalogue, workspace_id, self._clock.now())
            role_of(uow, self._catalogue, workspace_id, member.role).require_within(held)
            require_other_owner(member, uow.repo.members.owners(workspace_id))
            self._end(uow, member, events_pb2.MemberRemoved(member=member.name, role=member.role_name))
            uow.commit()

    def leave(self, workspace_id: UUID) -> None:
        """End the caller's own membership. Raises SessionRequired for an API key, ResourceNotFound or LastOwner."""
        caller = current_caller()
        caller.require_session()
        with self._units() as uow:
            uow.repo.workspaces.lock(workspace_id)
            member = _member(uow, workspace_id, caller.require_user())
            require_other_owner(member, uow.repo.members.owners(workspace_id))
            self._end(uow, member, events_pb2.MemberLeft(member=member.name, role=member.role_name))
            uow.commit()

    def transfer_ownership(
        self, workspace_id: UUID, member_name: str, etag: str, *, keep_ownership: bool
    ) -> tuple[Known, Known]:
        """Make a member an owner; the caller becomes an admin, or stays an owner. Answers both, as they are now.

        Raises ResourceNotFound, EtagRequired, EtagMismatch or FieldsInvalid.
        """
        caller_id = current_caller().require_user()
        user_id = user_id_in(workspace_id, member_name, field="member")
        if user_id == caller_id:
            raise FieldsInvalid(FieldViolation("member", "must be another member"))
        people = self._people.batch([user_id, caller_id])
        now = self._clock.now()
        with self._units() as uow:
            workspace = lock_living(uow, workspace_id)
            heir = _member(uow, workspace_id, user_id)
            check_etag(etag, heir.version, heir.name)
            giver = _member(uow, workspace_id, caller_id)
            if giver.role != OWNER:
                # The grant that let the call in was of a moment ago.
                raise ResourceNotFound(workspace.name)
            new_owner = heir.with_role(OWNER, now)
            previous = giver if keep_ownership else giver.with_role(ADMIN, now)
            if (new_owner, previous) != (heir, giver):
                event = events_pb2.OwnershipTransferred(
                    workspace=workspace.name,
                    new_owner=new_owner.name,
                    previous_owner=previous.name,
                    kept_ownership=keep_ownership,
                )
                self._change(uow, heir, new_owner)
                self._change(uow, giver, previous)
                uow.emit(workspace.name, event)
                uow.commit()
        return (new_owner, people.get(user_id)), (previous, people.get(caller_id))

    def remove_user(self, user_id: UUID) -> None:
        """End every membership of a user, or none. Raises SoleOwner, which lists the workspaces in the way."""
        with self._units.system() as uow:
            # Workspaces are locked in the order of their ids, as everywhere: two such calls never deadlock.
            workspace_ids = uow.repo.members.workspaces_of(user_id)
            kept: list[str] = []
            for workspace_id in workspace_ids:
                workspace = uow.repo.workspaces.lock(workspace_id)
                member = uow.repo.members.get(workspace_id, user_id)
                if workspace is None or member is None:
                    continue
                try:
                    require_other_owner(member, uow.repo.members.owners(workspace_id))
                except LastOwner:
                    if not workspace.deleted:
                        kept.append(workspace.name)
                self._end(uow, member, events_pb2.MemberRemoved(member=member.name, role=member.role_name))
            if kept:
                raise SoleOwner(kept)
            uow.commit()

    def _known(self, *members: Member) -> list[Known]:
        people = self._people.batch([member.user_id for member in members])
        return [(member, people.get(member.user_id)) for member in members]

    def _change(self, uow: TenancyUnitOfWork, before: Member, after: Member) -> None:
        if after is before:
            return
        event = events_pb2.MemberUpdated(member=after.name, role=after.role_name, previous_role=before.role_name)
        uow.repo.members.save(after)
        uow.emit(after.name, event)
        uow.invalidate(GrantChanged(after.workspace_id, after.user_id))

    def _end(self, uow: TenancyUnitOfWork, member: Member, event: Message) -> None:
        uow.repo.members.remove(member)
        uow.emit(member.name, event, workspace_id=member.workspace_id)
        uow.invalidate(GrantChanged(member.workspace_id, member.user_id))


def _member(uow: TenancyUnitOfWork, workspace_id: UUID, user_id: UUID) -> Member:
    member = uow.repo.members.get(workspace_id, user_id)
    if member is None:
        raise ResourceNotFound(MEMBER.format(workspace=workspace_id, member=user_id))
    return member


def _after(key: tuple[object, ...] | None) -> tuple[datetime, UUID] | None:
    match key:
        case None:
            return None
        case (datetime() as time, UUID() as user_id):
            return time, user_id
        case _:
            raise PageTokenInvalid
