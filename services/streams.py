"""The streams process: the `Watch…` methods, on an asyncio server, where an idle stream costs no thread."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from interceptors.aio import AioChain
from services.gauges import StreamGauges
from services.kernel.config import Settings
from services.kernel.event_log import LogTail, PostgresEventLog
from services.kernel.log_stream import LogStreams
from services.runtime import Runtime, open_runtime
from services.scheduling import take_turns
from services.serve import bind, server_options, settle_memory, start_metrics
from services.wiring import ALL_DOMAINS, Mesh

_LAG_SECONDS = 1.0
_log = structlog.get_logger("plinth.streams")


def serve_streams(
    settings: Settings,
    *,
    address: str,
    domains: Sequence[str] = ALL_DOMAINS,
    metrics_port: int | None = None,
    ready: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then end the streams. Raises ConfigError."""
    take_turns()
    with open_runtime(settings, "streams") as runtime, Mesh(runtime, domains) as mesh:
        clock = _LoopClock()
        chain = AioChain(mesh.policies, mesh.stages.for_streams(), mesh.hub)
        mesh.collectors.append(StreamGauges(chain.open_streams, lambda: clock.lag))
        start_metrics(metrics_port, mesh)
        asyncio.run(_serve(runtime, mesh, chain, address, clock, ready))


class _LoopClock:
    """Sets itself a timer again and again, and notes how late it came."""

    def __init__(self) -> None:
        self.lag = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_SECONDS
            await asyncio.sleep(_LAG_SECONDS)
            self.lag = loop.time() - due


@contextmanager
def _event_log(runtime: Runtime) -> Iterator[LogStreams]:
    """The event log for all streams, and the one thread that follows its head."""
    source = PostgresEventLog(runtime.database, runtime.database.connect)
    tail = LogTail(source)
    log = LogStreams(source, tail)
    tail.start()
    try:
        yield log
    finally:
        tail.stop()
        source.close()


async def _serve(
    runtime: Runtime, mesh: Mesh, chain: AioChain, address: str, clock: _LoopClock, ready: Callable[[int], None]
) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = grpc.aio.server(interceptors=(chain,), options=server_options(runtime.settings))
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # types-grpcio leaves it out
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    with _event_log(runtime) as log:
        mesh.register_watches(server, stopping, log)
        port = bind(server, address)
        await server.start()
        beside = [asyncio.create_task(chain.watch_access()), asyncio.create_task(clock.run())]
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        _log.info("serving", address=address, port=port)
        settle_memory()
        ready(port)
        await stopping.wait()
        _log.info("draining")
        await servicer.enter_graceful_shutdown()
        log.end()
        await server.stop(runtime.settings.drain_seconds)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
