"""What open streams cost and how soon they hear: idle ones beside unary calls, and the way from commit to reader."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import grpc
import numpy as np

from plinth.projects.v1 import (
    activity_service_pb2,
    activity_service_pb2_grpc,
    project_pb2,
    project_service_pb2,
)
from services.kernel.clock import SystemClock
from services.kernel.db import Database
from services.kernel.event_log import PostgresEventLog
from services.kernel.events import Event
from services.kernel.feed import InvalidationHub
from services.kernel.mail import Mailbox
from services.kernel.names import WORKSPACE
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Resources, Units
from tests.bench.h2load import BenchError, Load, Target, run
from tests.bench.report import Aim
from tests.bench.world import World
from tests.support.event_log import CREATED, created, name_of, tailing
from tests.support.settings import MASTER_KEYS
from tests.support.stubs import Stubs, with_token

STREAMS = 1000
_STREAMS_A_CONNECTION = 100
_OPENING = 50
_UNARY_CALLS, _UNARY_OFFERED, _UNARY_CONNECTIONS = 3000, 300.0, 16
_EVENTS_A_SECOND, _SECONDS, _WRITERS = 500, 6.0, 8
_PATIENCE = 30.0
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


@dataclass(frozen=True, slots=True)
class Idle:
    """What so many idle streams cost, and how soon after a transition's answer the last of them had heard; in seconds.

    `megabytes` is what they added to their process; the p99 are of unary calls without them and beside them.
    """

    streams: int
    megabytes: float
    p99_without: float
    p99_with: float
    reached: float


@dataclass(frozen=True, slots=True)
class Delay:
    """From the return of a commit until a reader of the log had the event, in seconds, at so many events a second."""

    rate: float
    p50: float
    p99: float


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


def idle(server: str, streams: str, streams_pid: int, world: World, count: int = STREAMS) -> Idle:
    """Open the streams at the process with this address and pid; call the server meanwhile. Raises BenchError."""
    target = world.over_grpc(server)
    with grpc.insecure_channel(server) as channel:
        stubs = Stubs(with_token(channel, world.token))
        project = _project(stubs, world.workspace)
        p99_without, before = _unary_p99(target), _resident_megabytes(streams_pid)
        with Watchers(streams, world.token, project.name, count) as watchers:
            p99_with, after = _unary_p99(target), _resident_megabytes(streams_pid)
            _transition(stubs, project)
            begun = time.monotonic()
            reached = watchers.all_heard() - begun
    return Idle(count, after - before, p99_without, p99_with, reached)


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


def delay(app_url: str, workspace: str) -> Delay:
    """Commit events evenly, and note when a reader of the log has them; a worker must be running. Raises BenchError."""
    [workspace_id] = WORKSPACE.ids(workspace)
    committed: dict[str, float] = {}
    arrived: dict[str, float] = {}
    expected = round(_EVENTS_A_SECOND * _SECONDS)
    complete = threading.Event()

    def note(events: Sequence[Event]) -> None:
        now = time.monotonic()
        arrived.update((name_of(event), now) for event in events if event.type == CREATED)
        if len(arrived) >= expected:
            complete.set()

    with _log_and_units(app_url) as (source, units), tailing(source) as tail:
        tail.subscribe(note)
        begun = time.monotonic()
        with ThreadPoolExecutor(_WRITERS) as writers:
            done = [writers.submit(_write, units, workspace_id, writer, begun, committed) for writer in range(_WRITERS)]
            for future in done:
                future.result()
        rate = expected / (time.monotonic() - begun)
        if not complete.wait(_PATIENCE):
            raise BenchError(f"of {expected} events {len(arrived)} arrived: does a worker run?")
    delays = np.array([arrived[name] - moment for name, moment in committed.items()])
    return Delay(rate, float(np.percentile(delays, 50)), float(np.percentile(delays, 99)))


@contextmanager
def _log_and_units(app_url: str) -> Iterator[tuple[PostgresEventLog, Units[None]]]:
    database = Database(app_url, pool_size=_WRITERS + 2)
    resources = Resources(database, SystemClock(), InvalidationHub(), Mailbox(Keyring.parse(MASTER_KEYS)))
    source = PostgresEventLog(database, database.connect)
    try:
        yield source, Units(resources, "tenancy", lambda _: None)
    finally:
        source.close()
        database.close()


def _write(units: Units[None], workspace_id: UUID, writer: int, begun: float, committed: dict[str, float]) -> None:
    """Every so-manieth of the events, each at its time, each about a subject of its own."""
    pause = threading.Event()
    for number in range(writer, round(_EVENTS_A_SECOND * _SECONDS), _WRITERS):
        pause.wait(max(0.0, begun + number / _EVENTS_A_SECOND - time.monotonic()))
        name = f"event {number}"
        with units(workspace_id) as uow:
            uow.emit(f"{WORKSPACE.format(workspace=workspace_id)}/{number}", created(name))
            uow.commit()
        committed[name] = time.monotonic()


def aims(found: Idle, late: Delay) -> list[Aim]:
    """What the streams were to keep to."""
    return [
        Aim(f"{found.streams} idle streams: more memory", found.megabytes, 100, "MB", at_least=False),
        Aim(
            f"unary p99 beside {found.streams} idle streams",
            found.p99_with / found.p99_without,
            1.5,
            "×",
            at_least=False,
        ),
        Aim(f"a transition reaches {found.streams} streams", found.reached, 1, "s", at_least=False),
        Aim(f"commit to subscriber at {late.rate:.0f} events/s, p50", late.p50 * 1e3, 10, "ms", at_least=False),
        Aim(f"commit to subscriber at {late.rate:.0f} events/s, p99", late.p99 * 1e3, 50, "ms", at_least=False),
    ]
