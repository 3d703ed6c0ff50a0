"""A workspace and the people in it, as the tests of tenancy use them."""

from dataclasses import dataclass, field
from typing import Any

import psycopg

from plinth.tenancy.v1 import access_service_pb2 as access
from plinth.tenancy.v1 import audit_service_pb2 as audit
from plinth.tenancy.v1 import invite_pb2, member_pb2, role_pb2, workspace_pb2
from plinth.tenancy.v1 import invite_service_pb2 as invites
from plinth.tenancy.v1 import member_service_pb2 as members
from plinth.tenancy.v1 import role_service_pb2 as roles
from plinth.tenancy.v1 import workspace_service_pb2 as workspaces
from tests.support.people import People, Person, token_in


@dataclass
class Team:
    """One workspace, its founder, and whoever joined since, by role."""

    people: People
    owner: Person
    workspace: str
    database: "psycopg.Connection[Any]"
    joined: dict[str, Person] = field(default_factory=dict)

    @property
    def admin(self) -> Person:
        """A person with this role, who joins when first asked for."""
        return self._with("admin")

    @property
    def member(self) -> Person:
        """The same, of this role."""
        return self._with("member")

    @property
    def viewer(self) -> Person:
        """The same, of this role."""
        return self._with("viewer")

    def _with(self, role: str) -> Person:
        if role not in self.joined:
            self.joined[role] = self.people.member(self.owner, self.workspace, role)
        return self.joined[role]

    def role(self, role_id: str) -> str:
        """The name of a role here."""
        return f"{self.workspace}/roles/{role_id}"

    def name_of(self, person: Person) -> str:
        """The name of a person's membership here."""
        return f"{self.workspace}/members/{person.user_id}"

    def get(self, person: Person) -> workspace_pb2.Workspace:
        """The workspace, as this person sees it."""
        return person.stubs.workspaces.GetWorkspace(workspaces.GetWorkspaceRequest(name=self.workspace)).workspace

    def delete(self) -> workspace_pb2.Workspace:
        """Delete the workspace."""
        request = workspaces.DeleteWorkspaceRequest(name=self.workspace, etag=self.get(self.owner).etag)
        return self.owner.stubs.workspaces.DeleteWorkspace(request).workspace

    def member_of(self, person: Person) -> member_pb2.Member:
        """A person's membership, as the owner sees it."""
        return self.owner.stubs.members.GetMember(members.GetMemberRequest(name=self.name_of(person))).member

    def members(self) -> list[member_pb2.Member]:
        """Everybody, as the owner sees them."""
        return list(self.owner.stubs.members.ListMembers(members.ListMembersRequest(parent=self.workspace)).members)

    def set_role(self, actor: Person, person: Person, role_id: str) -> member_pb2.Member:
        """Give a person another role."""
        wanted = member_pb2.Member(name=self.name_of(person), role=self.role(role_id), etag=self.member_of(person).etag)
        return actor.stubs.members.UpdateMember(members.UpdateMemberRequest(member=wanted)).member

    def remove(self, actor: Person, person: Person) -> None:
        """End a person's membership."""
        request = members.RemoveMemberRequest(name=self.name_of(person), etag=self.member_of(person).etag)
        actor.stubs.members.RemoveMember(request)

    def leave(self, person: Person, request_id: str = "") -> None:
        """Leave, as this person."""
        request = members.LeaveWorkspaceRequest(name=self.workspace, request_id=request_id)
        person.stubs.members.LeaveWorkspace(request)

    def invite(self, actor: Person, email: str, role_id: str = "member", request_id: str = "") -> invite_pb2.Invite:
        """Invite an address."""
        request = invites.CreateInviteRequest(
            parent=self.workspace,
            invite=invite_pb2.Invite(email=email, role=self.role(role_id)),
            request_id=request_id,
        )
        return actor.stubs.invites.CreateInvite(request).invite

    def token_for(self, email: str) -> str:
        """The token in the newest mail to an address."""
        return token_in(self.people.read_mail(email)[0])

    def invites(self) -> list[invite_pb2.Invite]:
        """Every invite, as the owner sees them."""
        return list(self.owner.stubs.invites.ListInvites(invites.ListInvitesRequest(parent=self.workspace)).invites)

    def new_role(self, actor: Person, *permissions: str, display_name: str = "Custom") -> role_pb2.Role:
        """A custom role."""
        request = roles.CreateRoleRequest(
            parent=self.workspace, role=role_pb2.Role(display_name=display_name, permissions=permissions)
        )
        return actor.stubs.roles.CreateRole(request).role

    def held(self, person: Person, *permissions: str) -> list[str]:
        """Which of the permissions a person holds."""
        request = access.TestPermissionsRequest(name=self.workspace, permissions=permissions)
        return list(person.stubs.access.TestPermissions(request).permissions)

    def actions(self) -> list[str]:
        """What the audit log tells, oldest first, without package and version."""
        request = audit.ListAuditEventsRequest(parent=self.workspace, page_size=500)
        events = self.owner.stubs.audit.ListAuditEvents(request).audit_events
        return [event.action.removeprefix("plinth.tenancy.").removesuffix(".v1") for event in reversed(events)]

    def let_invites_expire(self) -> None:
        """Put the end of every pending invite into the past."""
        self.database.execute(
            "update tenancy.invites set expire_time = now() - interval '1 minute' where workspace_id = %s",
            [self.workspace.removeprefix("workspaces/")],
        )


def accept(person: Person, token: str, request_id: str = "") -> invites.AcceptInviteResponse:
    """Accept an invite, as this person."""
    return person.stubs.invites.AcceptInvite(invites.AcceptInviteRequest(token=token, request_id=request_id))


def decline(person: Person, token: str) -> None:
    """Decline an invite, as this person."""
    person.stubs.invites.DeclineInvite(invites.DeclineInviteRequest(token=token))


def resend(actor: Person, invite: invite_pb2.Invite) -> invite_pb2.Invite:
    """Send an invite again."""
    return actor.stubs.invites.ResendInvite(invites.ResendInviteRequest(name=invite.name)).invite


def revoke(actor: Person, invite: invite_pb2.Invite) -> invite_pb2.Invite:
    """Take an invite back."""
    return actor.stubs.invites.RevokeInvite(invites.RevokeInviteRequest(name=invite.name)).invite
