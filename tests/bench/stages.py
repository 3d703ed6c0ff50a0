"""Plinth's server with a clock at every stage: what each costs on real calls.

A few calls are under way at once, for a core that sleeps between two calls runs each of them cold. A stage seldom lets
go of the interpreter, so the median of what its clock shows is its own time; the handler's holds its waits as well.
"""

import argparse
import json
import signal
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from interceptors.admission import StampingPool
from interceptors.call import Call
from interceptors.chain import Chain, Stages
from interceptors.policy import MethodPolicy, PolicyTable
from interceptors.stages import Stage
from services.kernel.config import load_settings
from services.runtime import open_runtime
from services.scheduling import take_turns
from services.serve import server_options
from services.wiring import ALL_DOMAINS, Mesh

METHOD = "GetWorkspace"


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Medians over the calls, in microseconds. `walk` is what the chain costs beside its stages."""

    stages: dict[str, float]
    walk: float
    handler: float
    whole: float

    @property
    def overhead(self) -> float:
        """What a call costs in the chain."""
        return self.whole - self.handler


class Clock(threading.local):
    """Adds up what each part of the thread's call took; keeps a row per call."""

    def __init__(self, rows: list[dict[str, float]]) -> None:
        self.rows = rows
        self._row: dict[str, float] = {}

    def begin(self) -> None:
        """A call begins."""
        self._row = {}

    def add(self, part: str, seconds: float) -> None:
        """A part of it took so long."""
        self._row[part] = self._row.get(part, 0.0) + seconds

    def end(self) -> None:
        """The call ended."""
        self.rows.append(self._row)

    def median(self, part: str, skip: int) -> float:
        """Of a part, in microseconds, without the first `skip` calls."""
        return statistics.median(row.get(part, 0.0) for row in self.rows[skip:]) * 1e6


class Timed(Stage):
    """A stage, by the clock."""

    def __init__(self, name: str, stage: Stage, clock: Clock) -> None:
        self._name = name
        self._stage = stage
        self._clock = clock

    def concerns(self, policy: MethodPolicy) -> bool:
        """As the stage says."""
        return self._stage.concerns(policy)

    def enter(self, call: Call) -> None:
        """By the clock."""
        begin = time.perf_counter()
        try:
            self._stage.enter(call)
        finally:
            self._clock.add(self._name, time.perf_counter() - begin)

    def answer(self, call: Call, response: Message) -> None:
        """By the clock."""
        begin = time.perf_counter()
        self._stage.answer(call, response)
        self._clock.add(self._name, time.perf_counter() - begin)

    def leave(self, call: Call) -> None:
        """By the clock."""
        begin = time.perf_counter()
        self._stage.leave(call)
        self._clock.add(self._name, time.perf_counter() - begin)


class TimedChain(Chain):
    """The chain, by the clock: the whole call, and the handler inside it."""

    def __init__(self, policies: PolicyTable, stages: Sequence[Stage], clock: Clock) -> None:
        super().__init__(policies, stages)
        self._clock = clock

    def intercept(self, method: Callable[..., Any], request_or_iterator: Any, context: Any, method_name: str) -> Any:
        """One call; others than METHOD, which only set the scene, are not kept."""

        def timed(*args: Any) -> Any:
            begin = time.perf_counter()
            try:
                return method(*args)
            finally:
                self._clock.add("handler", time.perf_counter() - begin)

        self._clock.begin()
        begin = time.perf_counter()
        response = super().intercept(timed, request_or_iterator, context, method_name)
        self._clock.add("whole", time.perf_counter() - begin)
        if method_name.endswith(METHOD):
            self._clock.end()
        return response


def timed_stages(stages: Stages, clock: Clock) -> list[Stage]:
    """The stages of the chain in their order, each by the clock under its name."""
    names = {id(getattr(stages, field.name)): field.name for field in fields(stages)}
    return [Timed(names[id(stage)], stage, clock) for stage in stages.in_order()]


def broken_down(stages: Stages, clock: Clock) -> Breakdown:
    """Medians of the later half of the calls, when everything is warm."""
    skip = len(clock.rows) // 2
    shares = {field.name: clock.median(field.name, skip) for field in fields(stages)}
    handler, whole = clock.median("handler", skip), clock.median("whole", skip)
    return Breakdown(shares, whole - handler - sum(shares.values()), handler, whole)


def main() -> None:
    """Serve until SIGTERM, then write the Breakdown as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--result", required=True, type=Path)
    arguments = parser.parse_args()
    take_turns()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    settings, clock = load_settings(), Clock([])
    with open_runtime(settings, "bench") as runtime, Mesh(runtime, ALL_DOMAINS) as mesh:
        chain = TimedChain(mesh.policies, timed_stages(mesh.stages, clock), clock)
        server = grpc.server(StampingPool(settings.threads), interceptors=[chain], options=server_options(settings))
        mesh.register(server)
        healthy = health.HealthServicer()
        healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        server.add_insecure_port(arguments.address)
        server.start()
        stopping.wait()
        server.stop(1).wait()
    arguments.result.write_text(json.dumps(asdict(broken_down(mesh.stages, clock))))


if __name__ == "__main__":
    main()
