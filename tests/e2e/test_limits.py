"""Calls that take too long, that come when there is no room, and that meet a server which is away."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import httpx
import pytest

from plinth.tenancy.v1 import workspace_pb2, workspace_service_pb2
from tests.e2e.conftest import Edge
from tests.e2e.test_rest import reason_of
from tests.support.errors import refusal_of
from tests.support.people import Person

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

_PAUSE = threading.Event()
_WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Return as soon as the condition holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        _PAUSE.wait(0.01)


@contextmanager
def held(edge: Edge, workspace: str) -> Iterator[Callable[[], int]]:
    """Nobody can change the workspace; gives how many calls wait for that."""
    with edge.database() as holder, edge.database() as watcher:
        watcher.autocommit = True
        workspace_id = workspace.removeprefix("workspaces/")
        holder.execute("select 1 from tenancy.workspaces where workspace_id = %s for update", [workspace_id])

        def waiting() -> int:
            found = watcher.execute(_WAITING).fetchone()
            assert found is not None
            return int(found[0])

        yield waiting
        holder.rollback()


def _rename(workspace: str, etag: str = "1") -> workspace_service_pb2.UpdateWorkspaceRequest:
    wanted = workspace_pb2.Workspace(name=workspace, display_name="Renamed", etag=etag)
    return workspace_service_pb2.UpdateWorkspaceRequest(workspace=wanted)


class TestDeadline:
    def test_work_ends_with_the_deadline_of_a_grpc_call(self, any_edge: Edge) -> None:
        owner, workspace = any_edge.new_workspace()
        with held(any_edge, workspace) as waiting:
            call = owner.stubs.workspaces.UpdateWorkspace.future(_rename(workspace), timeout=1.0)
            until(waiting, "the call waits for the row")
            assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            # The row is still held: it was the deadline that ended the statement.
            until(lambda: not waiting(), "the statement has ended")
        assert any_edge.get(f"/v1/{workspace}", owner)["workspace"]["etag"] == "1"

    def test_the_deadline_of_a_rest_call_is_the_contracts_or_an_earlier_one(self, edge: Edge) -> None:
        owner, workspace = edge.new_workspace()
        with held(edge, workspace):
            body = {"displayName": "Renamed", "etag": "1"}
            answer = edge.call("PATCH", f"/v1/{workspace}", body, owner, {"grpc-timeout": "700m"})
        # Both ends keep time: whether ours or the one of grpcio speaks first, is not told.
        assert (answer.status_code, answer.json()["code"]) == (504, 4)


class TestOverload:
    def test_a_call_that_waits_too_long_for_a_thread_is_told_to_come_back(self, edge: Edge) -> None:
        """The only thread is held by a call that waits for a row."""
        owner, workspace = edge.new_workspace()
        with ThreadPoolExecutor(2) as pool:
            with held(edge, workspace) as waiting:
                slow = pool.submit(_patch, edge, workspace, owner)
                until(waiting, "the first call has the thread")
                sent = time.monotonic()
                queued = pool.submit(edge.call, "POST", "/v1/workspaces", {"displayName": "Second"}, owner)
                too_long = edge.settings.max_queue_seconds + 0.5
                until(lambda: time.monotonic() > sent + too_long, "the second call has waited too long")
            refused = queued.result()
            assert slow.result().status_code == 200
        assert reason_of(refused, 429) == "OVERLOADED"
        assert int(refused.headers["retry-after"]) >= 1
        assert len(edge.get("/v1/workspaces", owner)["workspaces"]) == 1


class TestServerAway:
    @pytest.fixture
    def broken(self, edge: Edge) -> Iterator[Edge]:
        """The mesh without its server, which comes back after the test."""
        [server] = edge.mesh._servers
        server.stop(5.0)
        yield edge
        server.start()
        until(lambda: server.ready() and edge.rest.get("/healthz").status_code == 200, "the server is back")

    def test_everybody_is_told_when_to_come_back(self, broken: Edge) -> None:
        answer = broken.call("POST", "/v1/auth:refresh", {"refreshToken": "none"})
        assert reason_of(answer, 503) == "DEPENDENCY_UNAVAILABLE"
        assert int(answer.headers["retry-after"]) >= 1
        stub = broken.people.stubs.workspaces
        with pytest.raises(grpc.RpcError) as raised:
            stub.ListWorkspaces(workspace_service_pb2.ListWorkspacesRequest(), timeout=10)
        refusal = refusal_of(raised.value)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
        assert refusal.retry_seconds == 1


def _patch(edge: Edge, workspace: str, person: Person) -> httpx.Response:
    return edge.call("PATCH", f"/v1/{workspace}", {"displayName": "Renamed", "etag": "1"}, person)
