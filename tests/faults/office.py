"""A workspace on a fleet: who is in it, what is taken from them, and calls that tell whether it was."""

from collections.abc import Callable
from typing import NamedTuple

from plinth.identity.v1 import api_key_pb2, api_key_service_pb2, auth_service_pb2
from plinth.tenancy.v1 import (
    invite_service_pb2,
    member_pb2,
    member_service_pb2,
    role_pb2,
    role_service_pb2,
    workspace_service_pb2,
)
from tests.faults.refusal_times import Probe
from tests.support.fleet import Fleet
from tests.support.people import Person


class Key(NamedTuple):
    """An API key: its resource name, and what is sent."""

    name: str
    value: str


class Office:
    """A workspace with its owner."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.owner = fleet.people.new("owner")
        self.workspace = fleet.people.workspace_of(self.owner).name

    def member(self, role: str = "member") -> Person:
        """A new person with this role."""
        return self.fleet.people.member(self.owner, self.workspace, role)

    def resource(self, person: Person) -> member_pb2.Member:
        """The member as it is now."""
        name = f"{self.workspace}/members/{person.user_id}"
        return self.owner.stubs.members.GetMember(member_service_pb2.GetMemberRequest(name=name)).member

    def set_role(self, person: Person, role: str) -> None:
        """Give a member another role."""
        resource = self.resource(person)
        resource.role = f"{self.workspace}/roles/{role}"
        self.owner.stubs.members.UpdateMember(member_service_pb2.UpdateMemberRequest(member=resource))

    def remove(self, person: Person) -> None:
        """End a membership."""
        resource = self.resource(person)
        self.owner.stubs.members.RemoveMember(
            member_service_pb2.RemoveMemberRequest(name=resource.name, etag=resource.etag)
        )

    def new_role(self, *permissions: str) -> role_pb2.Role:
        """A custom role."""
        role = role_pb2.Role(display_name="Special", permissions=permissions)
        return self.owner.stubs.roles.CreateRole(
            role_service_pb2.CreateRoleRequest(parent=self.workspace, role=role)
        ).role

    def sign_out(self, person: Person) -> None:
        """The person ends the session."""
        person.stubs.auth.SignOut(auth_service_pb2.SignOutRequest())

    def revoke(self, key: "Key") -> None:
        """Revoke an API key."""
        self.owner.stubs.api_keys.RevokeApiKey(api_key_service_pb2.RevokeApiKeyRequest(name=key.name))

    def api_key(self, *permissions: str) -> "Key":
        """A key of the owner's."""
        key = api_key_pb2.ApiKey(display_name="Robot", permissions=permissions)
        answer = self.owner.stubs.api_keys.CreateApiKey(
            api_key_service_pb2.CreateApiKeyRequest(parent=self.workspace, api_key=key)
        )
        return Key(answer.api_key.name, answer.secret)

    def readers(self, token: str) -> list[Probe]:
        """The common call, on each server."""
        request = workspace_service_pb2.GetWorkspaceRequest(name=self.workspace)
        return [_call(stubs.workspaces.GetWorkspace, request) for stubs in self.fleet.everywhere(token)]

    def invite_listers(self, token: str) -> list[Probe]:
        """A call that viewers and members may not make, on each server."""
        request = invite_service_pb2.ListInvitesRequest(parent=self.workspace)
        return [_call(stubs.invites.ListInvites, request) for stubs in self.fleet.everywhere(token)]


def _call(method: Callable[..., object], request: object) -> Probe:
    return lambda: method(request, timeout=60)
