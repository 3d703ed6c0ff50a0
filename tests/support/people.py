"""People who use a mesh: they register, follow the link in the mail, and sign in, as anybody would."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import grpc

from plinth.identity.v1 import auth_service_pb2 as auth
from plinth.tenancy.v1 import invite_pb2, invite_service_pb2, workspace_pb2, workspace_service_pb2
from tests.support.stubs import Stubs, with_token

PASSWORD = "correct horse battery"
_TOKEN = re.compile(r"token=([A-Za-z0-9_-]+)")

ReadMail = Callable[[str], list[str]]


def token_in(text: str) -> str:
    """The token of the link in a mail."""
    match = _TOKEN.search(text)
    assert match is not None, text
    return match[1]


@dataclass
class Person:
    """Somebody who is signed in."""

    email: str
    user_id: UUID
    access_token: str
    refresh_token: str
    stubs: Stubs

    @property
    def name(self) -> str:
        """The resource name of the user."""
        return f"users/{self.user_id}"


class People:
    """Makes people on one mesh; `read_mail` gives the texts that an address was sent, the newest first."""

    def __init__(self, channel: grpc.Channel, read_mail: ReadMail) -> None:
        self.channel = channel
        self.stubs = Stubs(channel)
        self.read_mail = read_mail

    def address(self, who: str = "somebody") -> str:
        """An address that nobody has yet."""
        return f"{who}.{secrets.token_hex(6)}@example.com"

    def register(self, email: str, password: str = PASSWORD, display_name: str = "Some Body") -> None:
        """Register, without following the link."""
        self.stubs.auth.Register(auth.RegisterRequest(email=email, password=password, display_name=display_name))

    def verify(self, email: str) -> None:
        """Follow the link of the newest mail."""
        self.stubs.auth.VerifyEmail(auth.VerifyEmailRequest(token=token_in(self.read_mail(email)[0])))

    def sign_in(self, email: str, password: str = PASSWORD) -> Person:
        """Sign in once more."""
        answer = self.stubs.auth.SignIn(auth.SignInRequest(email=email, password=password))
        return Person(
            email=email,
            user_id=UUID(answer.user.name.removeprefix("users/")),
            access_token=answer.access_token,
            refresh_token=answer.refresh_token,
            stubs=Stubs(with_token(self.channel, answer.access_token)),
        )

    def new(self, who: str = "somebody", *, verified: bool = True) -> Person:
        """A new person, signed in."""
        email = self.address(who)
        self.register(email, display_name=who.title())
        if verified:
            self.verify(email)
        return self.sign_in(email)

    def workspace_of(self, owner: Person, display_name: str = "Acme") -> workspace_pb2.Workspace:
        """A new workspace of this owner."""
        request = workspace_service_pb2.CreateWorkspaceRequest(
            workspace=workspace_pb2.Workspace(display_name=display_name)
        )
        return owner.stubs.workspaces.CreateWorkspace(request).workspace

    def join(self, inviter: Person, workspace: str, person: Person, role: str = "member") -> None:
        """Invite a person, who accepts."""
        inviter.stubs.invites.CreateInvite(
            invite_service_pb2.CreateInviteRequest(
                parent=workspace,
                invite=invite_pb2.Invite(email=person.email, role=f"{workspace}/roles/{role}"),
            )
        )
        token = token_in(self.read_mail(person.email)[0])
        person.stubs.invites.AcceptInvite(invite_service_pb2.AcceptInviteRequest(token=token))

    def member(self, inviter: Person, workspace: str, role: str = "member") -> Person:
        """A new person with this role in the workspace."""
        person = self.new(role)
        self.join(inviter, workspace, person, role)
        return person
