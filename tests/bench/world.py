"""Who calls, and what for: a person who has registered, signed in and made a workspace, as anybody would."""

import json
from dataclasses import dataclass
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from google.protobuf.message import Message

from plinth.identity.v1 import auth_service_pb2
from plinth.tenancy.v1 import workspace_service_pb2
from services.kernel.db import Database, Scope
from services.kernel.mail import Mailbox
from services.kernel.secrets import Keyring
from tests.bench.h2load import BenchError, Target
from tests.support.people import PASSWORD, People
from tests.support.settings import MASTER_KEYS
from tests.support.stubs import Stubs, with_token

GET_WORKSPACE = "/plinth.tenancy.v1.WorkspaceService/GetWorkspace"
SIGN_IN = "/plinth.identity.v1.AuthService/SignIn"
_GRPC_FRAME_BYTES = 5


@dataclass(frozen=True, slots=True)
class World:
    """One person's token and workspace, and the keys to verify the token with (a JSON Web Key Set)."""

    email: str
    token: str
    workspace: str
    jwks: str

    @property
    def headers(self) -> dict[str, str]:
        """What each call carries."""
        return {"authorization": f"Bearer {self.token}"}

    @property
    def request(self) -> workspace_service_pb2.GetWorkspaceRequest:
        """The call that is measured."""
        return workspace_service_pb2.GetWorkspaceRequest(name=self.workspace)

    def over_grpc(self, address: str) -> Target:
        """GetWorkspace at this address, after one call by a real client. Raises BenchError if its answer is wrong."""
        with grpc.insecure_channel(address) as channel:
            answer = Stubs(with_token(channel, self.token)).workspaces.GetWorkspace(self.request)
        self._check(json_format.MessageToDict(answer), address)
        return Target(f"http://{address}{GET_WORKSPACE}", self.headers, framed_bytes(answer), self.request)

    def over_rest(self, address: str) -> Target:
        """The same over REST."""
        import httpx

        url = f"http://{address}/v1/{self.workspace}"
        answer = httpx.get(url, headers=self.headers)
        if answer.status_code != 200:
            raise BenchError(f"{url} answered {answer.status_code}: {answer.text}")
        self._check(answer.json(), address)
        return Target(url, self.headers, len(answer.content))

    def signing_in(self, address: str) -> Target:
        """SignIn at this address, with the right password."""
        request = auth_service_pb2.SignInRequest(email=self.email, password=PASSWORD)
        with grpc.insecure_channel(address) as channel:
            answer = Stubs(channel).auth.SignIn(request)
        return Target(f"http://{address}{SIGN_IN}", {}, framed_bytes(answer), request, tolerance=0.02)

    def _check(self, answer: dict[str, Any], address: str) -> None:
        found = answer.get("workspace", {})
        if found.get("name") != self.workspace or set(found) != set(FIELDS):
            raise BenchError(f"{address} answered {json.dumps(answer)}")


# What a workspace that was not deleted shows in JSON.
FIELDS = ("name", "displayName", "etag", "createTime", "updateTime")


def framed_bytes(answer: Message) -> int:
    """How long the body of a unary gRPC answer is."""
    return answer.ByteSize() + _GRPC_FRAME_BYTES


def settle(address: str, app_url: str) -> World:
    """Register somebody on the server at this address, who makes a workspace there."""
    database, mailbox = Database(app_url, pool_size=1), Mailbox(Keyring.parse(MASTER_KEYS))

    def read_mail(email: str) -> list[str]:
        with database.transaction(Scope("plinth_kernel")) as session:
            return [mailbox.text(mail) for mail in mailbox.latest(session, 1, email)]

    try:
        with grpc.insecure_channel(address) as channel:
            people = People(channel, read_mail)
            person = people.new("bench")
            workspace = people.workspace_of(person)
            keys: HttpBody = people.stubs.auth.GetJwks(auth_service_pb2.GetJwksRequest())
    finally:
        database.close()
    return World(person.email, person.access_token, workspace.name, keys.data.decode())
