"""More connections, idle sessions and waiting calls than there are threads and database connections."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from plinth.tenancy.v1 import workspace_pb2, workspace_service_pb2, workspace_service_pb2_grpc
from services.kernel.config import Settings
from tests.faults.office import Office
from tests.faults.refusal_times import Probe, outcome, warm
from tests.support.errors import Refusal, refusal_of
from tests.support.fleet import SERVERS, Fleet
from tests.support.stubs import Stubs, with_token

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.e2e]

CONNECTIONS = 1000
DEADLINE_SECONDS = 60.0
# What a call may take where nobody is in its way.
NORMAL_SECONDS = 2.0
LOCK_TIMEOUT_SECONDS = 5.0
IDLE_SECONDS = 60.0
THREADS = Settings.model_fields["threads"].default


@pytest.fixture
def office(fleet: Fleet) -> Office:
    return Office(fleet)


async def one_call(address: str, token: str, workspace: str, ready: asyncio.Barrier) -> tuple[Refusal, float]:
    """On a connection of its own, together with all the others: how it ends, and how long it took."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        await asyncio.wait_for(channel.channel_ready(), 120)
        stub = workspace_service_pb2_grpc.WorkspaceServiceStub(channel)
        await ready.wait()
        began = time.monotonic()
        try:
            await stub.GetWorkspace(
                workspace_service_pb2.GetWorkspaceRequest(name=workspace),
                timeout=DEADLINE_SECONDS,
                metadata=(("authorization", f"Bearer {token}"),),
            )
        except grpc.RpcError as error:
            return refusal_of(error), time.monotonic() - began
        # All connections stay open until every call has ended.
        finally:
            await ready.wait()
        return Refusal(), time.monotonic() - began


async def crowd(address: str, token: str, workspace: str) -> list[tuple[Refusal, float]]:
    """As many calls at once as there are connections."""
    ready = asyncio.Barrier(CONNECTIONS)
    return await asyncio.gather(*(one_call(address, token, workspace, ready) for _ in range(CONNECTIONS)))


class TestAThousandConnections:
    @pytest.mark.parametrize("way", ["straight", "edge"])
    def test_every_call_is_answered_or_told_when_to_come_back(self, office: Office, way: str) -> None:
        fleet = office.fleet
        address = fleet.address(0) if way == "straight" else fleet.mesh.edge_address
        fresh = office.readers(office.owner.access_token)
        warm(fresh)
        # Twice: a server that does not come to itself shows in the second wave.
        for wave in (1, 2):
            ended = asyncio.run(crowd(address, office.owner.access_token, office.workspace))
            refusals = [refusal for refusal, _ in ended if refusal.code is not grpc.StatusCode.OK]
            slowest = max(seconds for _, seconds in ended)
            reasons = Counter(refusal.reason for refusal in refusals)
            print(
                f"\n{way}, wave {wave}: {len(ended) - len(refusals)} answered, slowest {slowest:.2f} s, {dict(reasons)}"
            )
            assert len(ended) == CONNECTIONS
            assert set(reasons) <= {"OVERLOADED"}
            assert all(refusal.retry_seconds for refusal in refusals)
            assert len(refusals) < CONNECTIONS * 9 / 10
            fleet.until(lambda: all(map(is_quick, fresh)), "every server is itself again")


def is_quick(probe: Probe) -> bool:
    began = time.monotonic()
    return outcome(probe).code is grpc.StatusCode.OK and time.monotonic() - began < NORMAL_SECONDS


@contextmanager
def locked(office: Office) -> Iterator[None]:
    """Somebody holds the row of the workspace."""
    with office.fleet.database() as connection, connection.transaction():
        connection.execute(
            "select from tenancy.workspaces where workspace_id = %s for update",
            [UUID(office.workspace.rpartition("/")[2])],
        )
        yield


class TestWaitingCalls:
    def test_a_hundred_on_one_lock_keep_nobody_else_waiting_for_longer_than_the_lock_timeout(
        self, office: Office
    ) -> None:
        fleet, other = office.fleet, Office(office.fleet)
        rename = workspace_service_pb2.UpdateWorkspaceRequest(
            workspace=workspace_pb2.Workspace(name=office.workspace, display_name="Other", etag="x")
        )
        owner = Stubs(with_token(fleet.servers[0], office.owner.access_token))
        (elsewhere, *_) = other.readers(other.owner.access_token)
        warm([elsewhere, office.readers(office.owner.access_token)[0]])
        health = health_pb2_grpc.HealthStub(fleet.servers[0])
        with ThreadPoolExecutor(100) as pool:
            with locked(office):
                calls = [
                    pool.submit(outcome, partial(owner.workspaces.UpdateWorkspace, rename, timeout=60))
                    for _ in range(100)
                ]
                # All connections of the pool wait for the lock.
                fleet.until(lambda: waiting_for_locks(fleet) >= 16, "the pool is full of waiting calls")
                began = time.monotonic()
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=LOCK_TIMEOUT_SECONDS)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
                fleet.until(lambda: outcome(elsewhere).code is grpc.StatusCode.OK, "somebody else is answered")
                starved = time.monotonic() - began
            refusals = [call.result() for call in calls]
        print(f"\nothers waited {starved:.2f} s; {dict(Counter(refusal.reason for refusal in refusals))}")
        # Who is starved longer waits for those who come to the lock next, once more as long.
        assert starved < 2 * LOCK_TIMEOUT_SECONDS
        # Who still waited when the lock was let go came to the etag, which is none.
        gave_up = [refusal for refusal in refusals if refusal.reason != "ETAG_MISMATCH"]
        assert {refusal.reason for refusal in gave_up} == {"CONCURRENT_UPDATE", "OVERLOADED"}
        assert all(refusal.retry_seconds for refusal in gave_up)


def waiting_for_locks(fleet: Fleet) -> int:
    with fleet.database() as connection:
        row = connection.execute("select count(*) from pg_stat_activity where wait_event_type = 'Lock'").fetchone()
    assert row is not None
    return int(row[0])


class TestIdleSessions:
    def test_of_health_and_reflection_take_no_thread_from_the_calls(self, office: Office) -> None:
        (probe, *_) = office.readers(office.owner.access_token)
        warm([probe])
        channel = office.fleet.servers[0]
        reflect = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        done = threading.Event()

        def ask_once_and_idle() -> Iterator[reflection_pb2.ServerReflectionRequest]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            done.wait(IDLE_SECONDS)

        health = health_pb2_grpc.HealthStub(channel)
        sessions = [reflect(ask_once_and_idle(), timeout=IDLE_SECONDS) for _ in range(2 * THREADS)]
        watches = [health.Watch(health_pb2.HealthCheckRequest(), timeout=IDLE_SECONDS) for _ in range(2 * THREADS)]
        try:
            names = {service.name for service in next(iter(sessions[0])).list_services_response.service}
            assert "plinth.tenancy.v1.WorkspaceService" in names
            for watch in watches:
                assert next(iter(watch)).status == health_pb2.HealthCheckResponse.SERVING
            # A call that waited for a thread would be refused after a second.
            for _ in range(10):
                assert outcome(probe).code is grpc.StatusCode.OK
        finally:
            done.set()
            for call in (*sessions, *watches):
                call.cancel()

    def test_whose_request_never_comes_hold_no_thread_behind_the_edge(self, office: Office) -> None:
        (probe, *_) = office.readers(office.owner.access_token)
        warm([probe])
        call = office.fleet.edge.stream_unary(
            "/plinth.tenancy.v1.WorkspaceService/GetWorkspace",
            request_serializer=workspace_service_pb2.GetWorkspaceRequest.SerializeToString,
            response_deserializer=workspace_service_pb2.GetWorkspaceResponse.FromString,
        )
        done = threading.Event()

        def never() -> Iterator[workspace_service_pb2.GetWorkspaceRequest]:
            done.wait(IDLE_SECONDS)
            yield from ()

        # More than there are threads in all servers together; nobody has to be signed in for that.
        calls: list[Any] = [call.future(never(), timeout=IDLE_SECONDS) for _ in range((SERVERS + 1) * THREADS)]
        # These come after all of those, on the same connection.
        edge = Stubs(with_token(office.fleet.edge, office.owner.access_token)).workspaces
        request = workspace_service_pb2.GetWorkspaceRequest(name=office.workspace)
        try:
            for _ in range(10):
                edge.GetWorkspace(request, timeout=IDLE_SECONDS)
                assert outcome(probe).code is grpc.StatusCode.OK
        finally:
            done.set()
            for one in calls:
                one.cancel()
