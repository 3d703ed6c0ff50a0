"""A server that is told to stop finishes what it has begun."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from plinth.tenancy.v1 import role_pb2, role_service_pb2, workspace_pb2, workspace_service_pb2
from services.mesh.children import Child, Program, own_environment, wait_until_ready
from services.mesh.health import grpc_serving
from services.mesh.logs import LogFile
from services.mesh.ports import Reservation
from tests.e2e.conftest import Edge
from tests.e2e.test_limits import held, until
from tests.support.errors import refusal_of
from tests.support.people import Person
from tests.support.settings import ENVIRONMENT
from tests.support.stubs import Stubs, with_token

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

CALLERS = 6


@dataclass
class Alone:
    """A server process of its own, on the mesh's database."""

    child: Child
    address: str

    def stubs(self, person: Person) -> Stubs:
        """Calls to it, past the edge, as this person."""
        return Stubs(with_token(grpc.insecure_channel(self.address), person.access_token))

    def end(self) -> None:
        """SIGTERM, which the server takes for a polite request."""
        assert self.child._process is not None
        self.child._process.terminate()

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.child.pid is None


@pytest.fixture
def server(edge: Edge, tmp_path: Path) -> Iterator[Alone]:
    """Started, and stopped if the test did not."""
    port = Reservation()
    environment = own_environment(
        **ENVIRONMENT | {"PLINTH_DATABASE_URL": edge.mesh.database_url, "PLINTH_DRAIN_SECONDS": "10"}
    )
    command = [sys.executable, "-m", "services.cli", "serve", "--address", port.address]
    program = Program("serve", command, lambda: grpc_serving(port.address), env=environment)
    child = Child(program, LogFile(tmp_path / "serve.log"))
    child.start()
    wait_until_ready([child], time.monotonic() + 30.0, lambda *_: None)
    yield Alone(child, port.address)
    child.stop(5.0)
    port.close()


def test_a_call_under_way_is_answered_and_a_new_one_is_sent_away(edge: Edge, server: Alone) -> None:
    owner, workspace = edge.new_workspace()
    wanted = workspace_pb2.Workspace(name=workspace, display_name="Renamed", etag="1")
    request = workspace_service_pb2.UpdateWorkspaceRequest(workspace=wanted)
    with held(edge, workspace) as waiting:
        call = server.stubs(owner).workspaces.UpdateWorkspace.future(request, timeout=20)
        until(waiting, "the call is at work")
        server.end()
        until(lambda: not grpc_serving(server.address), "the server takes no more")
        assert not server.ended
    assert call.result().workspace.display_name == "Renamed"
    until(lambda: server.ended, "the server has ended")


def test_under_load_every_call_that_had_an_effect_was_answered(edge: Edge, server: Alone) -> None:
    """What is refused is refused as UNAVAILABLE, so that the edge or the client may go elsewhere."""
    owners = [edge.new_workspace() for _ in range(CALLERS)]
    codes: Counter[grpc.StatusCode] = Counter()
    made: dict[str, set[str]] = {workspace: set() for _, workspace in owners}

    def call_until_refused(owner: Person, workspace: str) -> None:
        stubs = server.stubs(owner)
        for number in range(10_000):
            role = role_pb2.Role(display_name=f"Role {number}", permissions=["members.read"])
            try:
                stubs.roles.CreateRole(role_service_pb2.CreateRoleRequest(parent=workspace, role=role))
            except grpc.RpcError as error:
                codes[refusal_of(error).code] += 1
                return
            made[workspace].add(role.display_name)
            if len(made[workspace]) >= 90:
                return

    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(call_until_refused, *owner) for owner in owners]
        until(lambda: sum(map(len, made.values())) > 4 * CALLERS, "calls are under way")
        server.end()
        for done in calls:
            done.result()
    until(lambda: server.ended, "the server has ended")
    assert set(codes) == {grpc.StatusCode.UNAVAILABLE}
    for owner, workspace in owners:
        roles = edge.get(f"/v1/{workspace}/roles?pageSize=500", owner)["roles"]
        assert {role["displayName"] for role in roles if not role["builtIn"]} == made[workspace]
