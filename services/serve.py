"""The server process: the unary methods of its domains, on threads."""

import gc
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence

import grpc
import prometheus_client
import structlog
from grpc_health.v1 import health_pb2
from prometheus_client.registry import CollectorRegistry

from interceptors.admission import StampingPool
from interceptors.chain import Chain
from services.background import Background
from services.introspection import Introspection
from services.kernel.config import ConfigError, Settings
from services.runtime import Runtime, open_runtime
from services.scheduling import take_turns
from services.wiring import ALL_DOMAINS, Mesh, reflected_services

_MAX_METADATA_BYTES = 48 * 1024
_NOTICE_SECONDS = 0.5
_ADDRESS = re.compile(r"unix:.+|(?:\[[^\[\]]+\]|[^\[\]:/]+):(?P<port>[0-9]{1,5})")
_log = structlog.get_logger("plinth.serve")


def server_options(settings: Settings) -> list[tuple[str, int]]:
    """Options of every gRPC server here, each with its reason."""
    return [
        ("grpc.so_reuseport", 0),  # two servers would share a port silently (grpc#16920)
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # As much as the edge lets through and adds; between a soft and a hard limit, refusals would be random.
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
        # Clients may ping every 10 s without being told that they ping too much (GOAWAY, too_many_pings).
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


class Server:
    """A running gRPC server over the domains of one process."""

    def __init__(self, runtime: Runtime, mesh: Mesh, address: str) -> None:
        settings = runtime.settings
        self._settings = settings
        self._admission = mesh.stages.admission
        self._introspection = Introspection(reflected_services(mesh.policies))
        self._server = grpc.server(
            StampingPool(settings.threads, thread_name_prefix="plinth-call"),
            interceptors=[Chain(mesh.policies, mesh.stages.in_order())],
            options=server_options(settings),
        )
        mesh.register(self._server)
        self._introspection.add_health(self._server)
        self._introspection.add_reflection(self._server)
        self.port = bind(self._server, address)
        self._names = ["", *mesh.service_names]

    def start(self) -> None:
        """Accept calls."""
        self._server.start()
        for name in self._names:
            self._introspection.status.set(name, health_pb2.HealthCheckResponse.SERVING)

    def stop(self) -> None:
        """Say NOT_SERVING, refuse what is new, let what runs finish within the drain time."""
        self._introspection.status.enter_graceful_shutdown()
        self._admission.drain()
        # A call that reaches a stopped server is CANCELLED by gRPC; until its caller has turned away, it is refused.
        notice = min(_NOTICE_SECONDS, self._settings.drain_seconds / 4)
        time.sleep(notice)
        self._server.stop(self._settings.drain_seconds - notice).wait()


def bind(server: grpc.Server | grpc.aio.Server, address: str) -> int:
    """Listen at the address; the port. Raises ConfigError."""
    # gRPC would take the port modulo 65536, and a word without one for a host.
    parts = _ADDRESS.fullmatch(address)
    if parts is None or int(parts["port"] or 0) > 65535:
        raise ConfigError(f"--address: {address!r} is neither host:port, of ports up to 65535, nor unix:/path")
    try:
        return server.add_insecure_port(address)
    except RuntimeError:
        raise ConfigError(f"{address} cannot be bound: is another process listening there?") from None


def serve(
    settings: Settings,
    *,
    address: str,
    domains: Sequence[str] = ALL_DOMAINS,
    metrics_port: int | None = None,
    ready: Callable[[Server], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises ConfigError."""
    take_turns()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with open_runtime(settings, "serve") as runtime, Mesh(runtime, domains) as mesh:
        mesh.check()
        server = Server(runtime, mesh, address)
        background = Background(runtime, mesh.served)
        start_metrics(metrics_port, mesh)
        server.start()
        background.start()
        settle_memory()
        _log.info("serving", address=address, port=server.port, domains=list(domains))
        ready(server)
        stopping.wait()
        _log.info("draining")
        server.stop()
        background.stop()


def settle_memory() -> None:
    """Tell the garbage collector that what is there now stays: a full walk over it takes a quarter of a second."""
    gc.collect()
    gc.freeze()


def start_metrics(port: int | None, mesh: Mesh) -> None:
    """Answer Prometheus at /metrics on a loopback port, where one is given. Raises ConfigError."""
    if port is None:
        return
    registry = CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    prometheus_client.GCCollector(registry=registry)
    for collector in mesh.collectors:
        registry.register(collector)
    try:
        prometheus_client.start_http_server(port, "127.0.0.1", registry)
    except OSError:
        raise ConfigError(f"Port {port} for metrics is taken by another process.") from None
