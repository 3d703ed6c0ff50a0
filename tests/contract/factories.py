"""What the descriptors cannot say: how each kind of resource comes to be, and what a few requests need besides.

A new kind of resource joins `RESOURCES`. A request whose valid form does not follow from its descriptor (a token out of
a mail, another caller than the owner) joins `REQUESTS`. Nothing else is written by hand for a new method.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from plinth.identity.v1 import api_key_pb2, api_key_service_pb2, auth_service_pb2, user_service_pb2
from plinth.tenancy.v1 import (
    invite_pb2,
    invite_service_pb2,
    member_service_pb2,
    role_pb2,
    role_service_pb2,
    workspace_service_pb2,
)
from tests.support.people import PASSWORD, People, Person, token_in


@dataclass
class Scene:
    """A workspace of its own, with its owner: what a request is made about, and who makes it."""

    people: People
    owner: Person
    workspace: str

    def link(self, email: str) -> str:
        """The token of the newest mail to an address."""
        return token_in(self.people.read_mail(email)[0])


def new_scene(people: People) -> Scene:
    """A new workspace of a new owner."""
    owner = people.new("owner")
    return Scene(people, owner, people.workspace_of(owner).name)


def _member(scene: Scene) -> str:
    person = scene.people.member(scene.owner, scene.workspace)
    return f"{scene.workspace}/members/{person.user_id}"


def _role(scene: Scene) -> str:
    role = role_pb2.Role(display_name=f"Role {secrets.token_hex(6)}", permissions=["members.read"])
    request = role_service_pb2.CreateRoleRequest(parent=scene.workspace, role=role)
    return scene.owner.stubs.roles.CreateRole(request).role.name


def _invite(scene: Scene, email: str = "") -> str:
    invite = invite_pb2.Invite(email=email or scene.people.address(), role=f"{scene.workspace}/roles/member")
    request = invite_service_pb2.CreateInviteRequest(parent=scene.workspace, invite=invite)
    return scene.owner.stubs.invites.CreateInvite(request).invite.name


def _api_key(scene: Scene) -> str:
    key = api_key_pb2.ApiKey(display_name="Made for a test", permissions=["members.read"])
    request = api_key_service_pb2.CreateApiKeyRequest(parent=scene.workspace, api_key=key)
    return scene.owner.stubs.api_keys.CreateApiKey(request).api_key.name


def _session(scene: Scene) -> str:
    request = auth_service_pb2.SignInRequest(email=scene.owner.email, password=PASSWORD)
    return scene.people.stubs.auth.SignIn(request).session


# By the form of its name: makes one in the scene's workspace (or of its owner), and tells the name.
RESOURCES: Mapping[str, Callable[[Scene], str]] = {
    "workspaces/*": lambda scene: scene.workspace,
    "workspaces/*/members/*": _member,
    "workspaces/*/roles/*": _role,
    "workspaces/*/invites/*": _invite,
    "workspaces/*/apiKeys/*": _api_key,
    "users/*": lambda scene: scene.owner.name,
    "me/sessions/*": _session,
}

# The request is Any: each function is listed for the one type whose fields it sets.
Completion = Callable[[Scene, Any], Person | None]


def _verification(scene: Scene, request: Any) -> None:
    email = scene.people.address()
    scene.people.register(email)
    request.token = scene.link(email)


def _sign_in(scene: Scene, request: Any) -> None:
    request.email, request.password = scene.owner.email, PASSWORD


def _refresh(scene: Scene, request: Any) -> None:
    request.refresh_token = scene.people.sign_in(scene.owner.email).refresh_token


def _reset(scene: Scene, request: Any) -> None:
    email = scene.people.new().email
    scene.people.stubs.auth.StartPasswordReset(auth_service_pb2.StartPasswordResetRequest(email=email))
    request.token = scene.link(email)


def _change_password(scene: Scene, request: Any) -> None:
    request.current_password = PASSWORD


def _start_email_change(scene: Scene, request: Any) -> None:
    request.password = PASSWORD


def _finish_email_change(scene: Scene, request: Any) -> None:
    start = user_service_pb2.StartEmailChangeRequest(new_email=scene.people.address(), password=PASSWORD)
    scene.owner.stubs.users.StartEmailChange(start)
    request.token = scene.link(start.new_email)


def _own_etag(person: Person) -> str:
    return person.stubs.users.GetMe(user_service_pb2.GetMeRequest()).user.etag


def _update_me(scene: Scene, request: Any) -> None:
    request.user.etag = _own_etag(scene.owner)


def _delete_me(scene: Scene, request: Any) -> Person:
    person = scene.people.new()
    request.etag = _own_etag(person)
    return person


def _answer_invite(scene: Scene, request: Any) -> Person:
    person = scene.people.new("invited")
    _invite(scene, person.email)
    request.token = scene.link(person.email)
    return person


def _leave(scene: Scene, request: Any) -> Person:
    return scene.people.member(scene.owner, scene.workspace)


def _transfer(scene: Scene, request: Any) -> None:
    member = member_service_pb2.GetMemberRequest(name=request.member)
    request.etag = scene.owner.stubs.members.GetMember(member).member.etag
    # Else the caller could not call a second time.
    request.keep_ownership = True


def _remove_user(scene: Scene, request: Any) -> None:
    # The scene's owner would leave a workspace without one.
    request.user = scene.people.new().name


def _undelete(scene: Scene, request: Any) -> None:
    delete = workspace_service_pb2.DeleteWorkspaceRequest(name=scene.workspace, etag=request.etag)
    request.etag = scene.owner.stubs.workspaces.DeleteWorkspace(delete).workspace.etag


# By request: sets what the descriptor cannot tell; answers who calls, where that is not the owner of the workspace.
REQUESTS: Mapping[type[Message], Completion] = {
    auth_service_pb2.VerifyEmailRequest: _verification,
    auth_service_pb2.SignInRequest: _sign_in,
    auth_service_pb2.RefreshRequest: _refresh,
    auth_service_pb2.FinishPasswordResetRequest: _reset,
    user_service_pb2.ChangePasswordRequest: _change_password,
    user_service_pb2.StartEmailChangeRequest: _start_email_change,
    user_service_pb2.FinishEmailChangeRequest: _finish_email_change,
    user_service_pb2.UpdateMeRequest: _update_me,
    user_service_pb2.DeleteMeRequest: _delete_me,
    invite_service_pb2.AcceptInviteRequest: _answer_invite,
    invite_service_pb2.DeclineInviteRequest: _answer_invite,
    member_service_pb2.LeaveWorkspaceRequest: _leave,
    member_service_pb2.TransferOwnershipRequest: _transfer,
    member_service_pb2.RemoveUserRequest: _remove_user,
    workspace_service_pb2.UndeleteWorkspaceRequest: _undelete,
}

# These end the caller's own right to call, so a second call of theirs is refused at the door.
ENDS_ACCESS = frozenset({auth_service_pb2.SignOutRequest, member_service_pb2.LeaveWorkspaceRequest})
