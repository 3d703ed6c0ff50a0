"""Real gRPC servers, threaded and asyncio, with the real chain over the scratch contract and the people of a World."""

import asyncio
import io
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import grpc
import orjson
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from interceptors.access import AccessControl
from interceptors.admission import StampingPool
from interceptors.aio import AioChain
from interceptors.auth import Auth
from interceptors.chain import Chain, build_stages
from interceptors.policy import PolicyTable
from interceptors.ports import Quota
from interceptors.quota import Unmetered
from interceptors.service_token import ServiceTokens
from services.kernel.secrets import Keyring, MasterKey
from services.kernel.telemetry import LineWriter, tracer_provider
from services.serve import server_options
from tests.support.scratch import SERVICE, ScratchServicer, pb_grpc
from tests.support.settings import settings_for_tests
from tests.support.waiting import PATIENCE_SECONDS
from tests.support.world import SwitchedHub, World

TIMEOUT = PATIENCE_SECONDS


class Rig:
    """The chain, its world, and what it logged and traced. Subclasses serve it."""

    def __init__(self, quota: Quota | None = None, **settings: object) -> None:
        self.settings = settings_for_tests("", **settings)
        self.keyring = Keyring([MasterKey("test", bytes(range(32)))])
        self.tokens = ServiceTokens(self.keyring)
        self.hub = SwitchedHub()
        self.world = World(self.hub)
        self.servicer = ScratchServicer()
        self.exporter = InMemorySpanExporter()
        self._lines = io.BytesIO()
        self._writer = LineWriter(self._lines)
        self._provider = tracer_provider(self.settings, "test", SimpleSpanProcessor(self.exporter))
        self.policies = PolicyTable.of(descriptor_pool.Default(), [SERVICE])
        world = self.world
        auth = Auth(world.keys, world.sessions, world.api_keys, self.tokens, self.hub)
        access = AccessControl(world.grants, auth, self.hub)
        self.stages = build_stages(
            self.settings, self.keyring, self._provider, self._writer, auth, access, quota or Unmetered()
        )
        self.port = 0
        self.channel: grpc.Channel | None = None
        self.stub: Any = None

    def __enter__(self) -> Self:
        self.port = self._start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", [("grpc.use_local_subchannel_pool", 1)])
        self.stub = pb_grpc.ScratchServiceStub(self.channel)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.channel is not None:
            self.channel.close()
        self._stop()
        self._writer.close()
        self._provider.shutdown()

    def _start(self) -> int:
        raise NotImplementedError

    def _stop(self) -> None:
        raise NotImplementedError

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the access log so far."""
        self._writer._flush()
        return [orjson.loads(line) for line in self._lines.getvalue().splitlines()]

    def raw(self, method: str, request: bytes, metadata: list[tuple[str, str]], service: str = SERVICE) -> bytes:
        """A unary call in bytes, whatever they are."""
        assert self.channel is not None
        call = self.channel.unary_unary(f"/{service}/{method}", bytes, bytes)
        answer: bytes = call(request, metadata=tuple(metadata), timeout=TIMEOUT)
        return answer


class SyncRig(Rig):
    """Served by threads."""

    def __init__(
        self, threads: int = 8, quota: Quota | None = None, pool: type[StampingPool] = StampingPool, **settings: object
    ) -> None:
        super().__init__(quota, threads=threads, **settings)
        self.chain = Chain(self.policies, self.stages.in_order())
        self._pool = pool(threads)
        self._server = grpc.server(self._pool, interceptors=[self.chain], options=server_options(self.settings))
        pb_grpc.add_ScratchServiceServicer_to_server(self.servicer, self._server)
        pb_grpc.add_UnstatedServiceServicer_to_server(pb_grpc.UnstatedServiceServicer(), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), self._server)

    def _start(self) -> int:
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return int(port)

    def _stop(self) -> None:
        self._server.stop(None).wait()
        self._pool.shutdown()


class AioRig(Rig):
    """Served by an event loop on a thread of its own."""

    chain: AioChain

    def __init__(self, quota: Quota | None = None, **settings: object) -> None:
        super().__init__(quota, **settings)
        self.loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),))

    async def _serve(self) -> None:
        self.chain = AioChain(self.policies, self.stages.for_streams(), self.hub)
        server = grpc.aio.server(interceptors=(self.chain,), options=server_options(self.settings))
        pb_grpc.add_ScratchServiceServicer_to_server(self.servicer, server)
        pb_grpc.add_UnstatedServiceServicer_to_server(pb_grpc.UnstatedServiceServicer(), server)
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        watching = asyncio.create_task(self.chain.watch_access())
        self._ready.set_result(port)
        await self._stopping.wait()
        watching.cancel()
        await asyncio.wait([watching])
        await server.stop(None)

    def _start(self) -> int:
        self._thread.start()
        return self._ready.result(TIMEOUT)

    def _stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(TIMEOUT)
        self.loop.close()
