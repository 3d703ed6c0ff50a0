"""What gRPC clients and engineers with a shell meet."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from interceptors.policy import Access, MethodPolicy
from plinth.identity.v1 import auth_service_pb2
from plinth.tenancy.v1 import workspace_service_pb2
from services.mesh.envoy import Json, load_template
from services.mesh.supervisor import ENVOY_DIR
from services.wiring import all_policies
from tests.e2e.conftest import Edge
from tests.support.errors import refused
from tests.support.stubs import Stubs

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

POLICIES = sorted(all_policies().values(), key=lambda policy: policy.full_name)
INTERNAL = [policy for policy in POLICIES if policy.access is Access.INTERNAL]
OFFERED = {policy.service for policy in POLICIES if policy.access is not Access.INTERNAL}
BUF = Path(sys.executable).with_name("buf")


@pytest.fixture(scope="module")
def routes() -> dict[str, Json]:
    """The routes of the edge, by path."""
    [listener] = load_template(ENVOY_DIR / "envoy.json")["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    [host] = manager["route_config"]["virtual_hosts"]
    return {route["match"].get("path", ""): route for route in host["routes"]}


def _id(policy: MethodPolicy) -> str:
    return policy.full_name


class TestCalls:
    def test_the_same_call_as_by_rest(self, any_edge: Edge) -> None:
        owner, name = any_edge.new_workspace()
        answer = owner.stubs.workspaces.GetWorkspace(workspace_service_pb2.GetWorkspaceRequest(name=name))
        shown = any_edge.get(f"/v1/{name}", owner)["workspace"]
        assert (answer.workspace.name, answer.workspace.etag) == (shown["name"], shown["etag"])

    def test_refusals_carry_their_details(self, any_edge: Edge) -> None:
        with refused(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            Stubs(any_edge.channel).workspaces.ListWorkspaces(workspace_service_pb2.ListWorkspacesRequest())

    @pytest.mark.parametrize("policy", INTERNAL, ids=_id)
    def test_an_internal_method_is_not_there(self, edge: Edge, policy: MethodPolicy) -> None:
        call = edge.channel.unary_unary(policy.path, bytes, bytes)
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", timeout=10)
        assert isinstance(raised.value, grpc.Call)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED

    def test_a_browser_by_grpc_web(self, any_edge: Edge) -> None:
        headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
        path = "/plinth.identity.v1.AuthService/GetJwks"
        request = auth_service_pb2.GetJwksRequest().SerializeToString()
        answer = any_edge.rest.post(path, content=b"\0" + len(request).to_bytes(4, "big") + request, headers=headers)
        assert answer.headers["content-type"] == "application/grpc-web+proto"
        assert b'"keys"' in answer.content
        assert b"grpc-status:0" in answer.content.replace(b" ", b"")


class TestHealth:
    def test_the_edge_tells_how_the_mesh_is(self, any_edge: Edge) -> None:
        stub = health_pb2_grpc.HealthStub(any_edge.channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == health_pb2.HealthCheckResponse.SERVING
        assert any_edge.rest.get("/healthz").status_code == 200


class TestReflection:
    def test_v1alpha_tells_of_every_service_that_may_be_called(self, any_edge: Edge) -> None:
        database = ProtoReflectionDescriptorDatabase(any_edge.channel)
        assert set(database.get_services()) >= OFFERED
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("plinth.tenancy.v1.WorkspaceService")
        assert "CreateWorkspace" in {method.name for method in service.methods}

    def test_v1_does_too(self, any_edge: Edge) -> None:
        # Its messages are those of v1alpha under another name.
        call = any_edge.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        asked = [reflection_pb2.ServerReflectionRequest(list_services="*")]
        [answer] = list(call(iter(asked), timeout=10))
        assert {service.name for service in answer.list_services_response.service} >= OFFERED

    def test_buf_curl_needs_no_proto_files(self, any_edge: Edge) -> None:
        owner, name = any_edge.new_workspace()
        answer = _buf_curl(any_edge, "WorkspaceService/GetWorkspace", {"name": name}, owner.access_token)
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout)["workspace"]["name"] == name

    def test_buf_curl_shows_why_it_was_refused(self, edge: Edge) -> None:
        _, name = edge.new_workspace()
        stranger = edge.people.new("eve")
        answer = _buf_curl(edge, "WorkspaceService/GetWorkspace", {"name": name}, stranger.access_token)
        assert answer.returncode != 0
        assert "not_found" in answer.stderr
        assert "google.rpc.ErrorInfo" in answer.stderr


class TestRoutes:
    """What Envoy was told of each method, for it to be retried and cut off as the contract says."""

    @pytest.mark.parametrize("policy", POLICIES, ids=_id)
    def test_a_method_is_retried_only_if_it_changes_nothing(
        self, policy: MethodPolicy, routes: dict[str, Json]
    ) -> None:
        assert (policy.path in routes) is (policy.access is not Access.INTERNAL)
        if policy.path in routes:
            action: dict[str, Any] = routes[policy.path]["route"]
            assert ("retry_policy" in action) is (policy.read_only and not policy.request_streaming)
            assert action["timeout"] == ("0s" if policy.timeout is None else f"{policy.timeout:g}s")


def _buf_curl(edge: Edge, method: str, request: Json, token: str) -> "subprocess.CompletedProcess[str]":
    command = [
        *(str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge"),
        *("-H", f"authorization: Bearer {token}", "-d", json.dumps(request)),
        f"{edge.mesh.edge_url}/plinth.tenancy.v1.{method}",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
