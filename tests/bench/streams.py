"""What open streams cost beside unary calls, and how soon all of them hear."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from plinth.projects.v1 import (
    activity_service_pb2,
    activity_service_pb2_grpc,
    project_pb2,
    project_service_pb2,
)
from tests.bench import event_log
from tests.bench.h2load import BenchError, Load, Target, run
from tests.bench.report import Aim
from tests.bench.rig import Rig, Server
from tests.bench.world import World
from tests.support.stubs import Stubs, with_token

STREAMS = 1000
_STREAMS_A_CONNECTION = 100
_OPENING = 50
_UNARY_CALLS, _UNARY_OFFERED, _UNARY_CONNECTIONS = 2000, 300.0, 16
_PATIENCE = 30.0
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


@dataclass(frozen=True, slots=True)
class _Idle:
    """What idle streams cost, and how soon after a transition's answer the last of them had heard; in seconds.

    `megabytes` is what they added to their process; the p99 are of unary calls without them and beside them.
    """

    megabytes: float
    p99_without: float
    p99_with: float
    reached: float


class Watchers:
    """Clients that follow one project's activity, on a loop of their own; opened on entering, all connected then."""

    def __init__(self, address: str, token: str, project: str, count: int) -> None:
        self._address = address
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._request = activity_service_pb2.WatchActivityRequest(parent=project)
        self._count = count
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bench-watchers", daemon=True)
        self._heard: list[float] = []
        self._all_heard: Future[float] = Future()
        self._watching: list[asyncio.Task[None]] = []
        self._channels: list[grpc.aio.Channel] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def all_heard(self) -> float:
        """When the last of them heard of the next thing that is done (monotonic seconds)."""
        return self._all_heard.result(_PATIENCE)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(4 * _PATIENCE)

    async def _open(self) -> None:
        turn, connected = asyncio.Semaphore(_OPENING), []
        for number in range(self._count):
            if number % _STREAMS_A_CONNECTION == 0:
                self._channels.append(grpc.aio.insecure_channel(self._address, options=_OPTIONS))
            arrived = self._loop.create_future()
            connected.append(arrived)
            self._watching.append(asyncio.create_task(self._watch(self._channels[-1], turn, arrived)))
        await asyncio.gather(*connected)

    async def _watch(
        self, channel: grpc.aio.Channel, turn: asyncio.Semaphore, connected: "asyncio.Future[None]"
    ) -> None:
        stub = activity_service_pb2_grpc.ActivityServiceStub(channel)
        await turn.acquire()
        try:
            async for message in stub.WatchActivity(self._request, metadata=self._metadata):
                if not connected.done():
                    turn.release()
                    connected.set_result(None)
                if message.HasField("activity"):
                    self._note()
        except grpc.aio.AioRpcError as error:
            if not connected.done():
                connected.set_exception(error)

    def _note(self) -> None:
        self._heard.append(time.monotonic())
        if len(self._heard) == self._count:
            self._all_heard.set_result(self._heard[-1])

    async def _close(self) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for channel in self._channels:
            await channel.close(None)


def measured(rig: Rig, world: World, plinth: Server) -> list[Aim]:
    """With a streams process and a worker beside the server, and the way of an event as well. Raises BenchError."""
    streams, worker = rig.beside("streams"), rig.beside("worker")
    late = event_log.delay(rig.app_url, world.workspace)
    found = _idle(plinth, streams, world)
    streams.stop()
    worker.stop()
    beside = f"{STREAMS} idle streams"
    return [
        Aim(f"{beside}: more memory", found.megabytes, 100, "MB", at_least=False),
        Aim(f"unary p99 beside {beside}", found.p99_with / found.p99_without, 1.5, "×", at_least=False),
        Aim(f"a transition reaches {STREAMS} streams", found.reached, 1, "s", at_least=False),
        *late,
    ]


def _idle(plinth: Server, streams: Server, world: World) -> _Idle:
    """Open the streams, and call the server meanwhile. Raises BenchError."""
    target = world.over_grpc(plinth.address)
    with grpc.insecure_channel(plinth.address) as channel:
        stubs = Stubs(with_token(channel, world.token))
        project = _project(stubs, world.workspace)
        p99_without, before = _unary_p99(target), _resident_megabytes(streams.pid)
        with Watchers(streams.address, world.token, project.name, STREAMS) as watchers:
            p99_with, after = _unary_p99(target), _resident_megabytes(streams.pid)
            _transition(stubs, project)
            begun = time.monotonic()
            reached = watchers.all_heard() - begun
    # Before and after: the better one is what other work on the machine has spared.
    return _Idle(after - before, min(p99_without, _unary_p99(target)), p99_with, reached)


def _project(stubs: Stubs, workspace: str) -> project_pb2.Project:
    project = project_pb2.Project(display_name=f"Watched {time.monotonic_ns()}")
    return stubs.projects.CreateProject(
        project_service_pb2.CreateProjectRequest(parent=workspace, project=project)
    ).project


def _transition(stubs: Stubs, project: project_pb2.Project) -> None:
    """Move it to the first state that it may go to without asking anybody."""
    listed = stubs.projects.ListAvailableTransitions(
        project_service_pb2.ListAvailableTransitionsRequest(name=project.name)
    )
    for transition in listed.transitions:
        if transition.allowed and not transition.required_approvals:
            stubs.projects.TransitionProject(
                project_service_pb2.TransitionProjectRequest(
                    name=project.name, to_state=transition.to_state, etag=project.etag
                )
            )
            return
    raise BenchError(f"{project.name} may go nowhere from state {project.state}")


def _unary_p99(target: Target) -> float:
    return run(target, Load(_UNARY_CALLS, _UNARY_CONNECTIONS, offered=_UNARY_OFFERED)).percentile(99)


def _resident_megabytes(pid: int) -> float:
    """What the process has of its own in memory: proc_pid_smaps(5)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"process {pid} tells nothing of its memory")
