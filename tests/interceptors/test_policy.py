"""A method without a policy: no table, no server, no call."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from grpc import StatusCode

from interceptors.local import LocalMesh
from interceptors.policy import Access, MethodPolicy, PolicyError, PolicyTable
from services.kernel.ids import new_id
from tests.support.errors import refused
from tests.support.rigs import SyncRig
from tests.support.scratch import SERVICE, pb


def _service(name: str) -> ServiceDescriptor:
    found: ServiceDescriptor = pb.DESCRIPTOR.services_by_name[name]
    return found


@pytest.fixture(scope="module")
def policy() -> Callable[[str], MethodPolicy]:
    table = PolicyTable.of(descriptor_pool.Default(), [SERVICE])
    return lambda method: table[f"/{SERVICE}/{method}"]


class TestFailClosed:
    @pytest.mark.parametrize(
        ("service", "complaint"),
        [
            ("UnstatedService", "Nothing states no"),
            ("HalfService", "Half does not say whom"),
            ("NotPublicService", "Closed does not say whom"),
            ("UnnamedPermissionService", "Unnamed names an empty permission"),
            ("NowhereService", "Nowhere demands a permission, but names no workspace"),
        ],
    )
    def test_no_table_is_made_with_a_method_that_lacks_one(self, service: str, complaint: str) -> None:
        with pytest.raises(PolicyError, match=complaint):
            PolicyTable([_service("ScratchService"), _service(service)])

    @pytest.mark.parametrize(
        "service",
        ["plinth.scratch.v1.UnstatedService", "grpc.health.v1evil.Health", "grpc.health.v2.Health", "grpc.x.Y"],
    )
    def test_no_call_passes_the_chain_without_one(self, rig: SyncRig, service: str) -> None:
        called: list[object] = []
        handler = grpc.unary_unary_rpc_method_handler(lambda request, _: called.append(request))
        mesh = LocalMesh()
        mesh.route_through(rig.chain.intercept)
        mesh.add_registered_method_handlers(service, {"Nothing": handler})
        with refused(StatusCode.PERMISSION_DENIED, "METHOD_DENIED"):
            mesh.call(f"/{service}/Nothing", pb.Ask(), "tenancy", 5.0)
        assert called == []

    @pytest.mark.parametrize(
        "service",
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"],
    )
    def test_health_and_reflection_alone_need_none(self, rig: SyncRig, service: str) -> None:
        handler = grpc.unary_unary_rpc_method_handler(lambda _, __: pb.Answer(text="served"))
        mesh = LocalMesh()
        mesh.route_through(rig.chain.intercept)
        mesh.add_registered_method_handlers(service, {"Check": handler})
        assert mesh.call(f"/{service}/Check", pb.Ask(), "tenancy", 5.0).text == "served"


class TestTable:
    def test_reads_everything_that_the_contract_states(self, policy: Callable[[str], MethodPolicy]) -> None:
        export = policy("Export")
        assert (export.access, export.permission) == (Access.PERMISSION, "notes.read")
        assert (export.meter, export.cost, export.rate_class) == ("exports", 3, "bulk")
        assert (policy("GetNote").read_only, export.read_only) == (True, False)
        assert policy("Tell").callers == {"tenancy"}
        assert policy("Attempt").rate_class == "credentials"
        assert policy("GetNote").rate_class == "standard"
        assert (policy("GetNote").has_request_id, export.has_request_id) == (True, False)

    def test_a_call_has_its_own_time_else_fifteen_seconds_and_a_watch_none(
        self, policy: Callable[[str], MethodPolicy]
    ) -> None:
        assert [policy(name).timeout for name in ("GetNote", "Export", "Count", "WatchNote")] == [30, 15, 15, None]

    def test_a_request_has_its_own_size_else_four_mebibytes(self, policy: Callable[[str], MethodPolicy]) -> None:
        assert [policy(name).max_request_bytes for name in ("Attempt", "Upload")] == [1000, 4 << 20]

    def test_a_transfer_is_a_stream_that_has_an_end(self, policy: Callable[[str], MethodPolicy]) -> None:
        streams = ("Count", "Upload", "Converse", "Download")
        assert [policy(name).transfers for name in (*streams, "WatchNote", "GetNote")] == [True] * 4 + [False] * 2
        assert [name for name in streams if policy(name).downloads] == ["Download"]

    def test_knows_every_permission_that_a_role_can_hold(self) -> None:
        table = PolicyTable([_service("ScratchService")])
        assert table.permissions == {"notes.read", "notes.write"}

    @pytest.mark.parametrize(
        ("method", "name", "fits"),
        [
            ("GetNote", "workspaces/{}/notes/1", True),
            ("GetNote", "workspaces/{}/notes/1/2", False),
            ("GetNote", "workspaces/{}/notes/", False),
            ("GetNote", "workspaces/{}", False),
            ("GetNote", "x/workspaces/{}/notes/1", False),
            ("GetNote", "workspaces/{}/notesX1", False),
            ("Visit", "workspaces/{}", True),
            ("Visit", "workspaces/{}/anything/below", True),
            ("Visit", "workspaces/{}x", False),
            ("Visit", "workspaces/*", False),
        ],
    )
    def test_names_are_those_of_the_path_or_else_any_in_a_workspace(
        self, policy: Callable[[str], MethodPolicy], method: str, name: str, fits: bool
    ) -> None:
        (field,) = policy(method).names
        workspace = str(new_id())
        match: Any = field.match(name.format(workspace))
        assert (match is not None) == fits
        assert not fits or match["workspace"] == workspace
