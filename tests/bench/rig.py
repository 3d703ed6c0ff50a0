"""All that a run needs, started: PostgreSQL, the servers under test, an edge before Plinth and one before the peer."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from services.kernel.migrations import migrate
from services.mesh import envoy
from services.mesh.children import Child, Program, own_environment, wait_until_ready
from services.mesh.health import grpc_serving
from services.mesh.logs import LogFile
from services.mesh.options import ENVOY_DIR
from services.mesh.ports import Reservation
from services.mesh.postgres import EmbeddedPostgres
from services.mesh.supervisor import APP_LOGIN
from tests.bench import bare, peer, stages
from tests.bench.cores import Cores, running_on
from tests.bench.h2load import BenchError
from tests.bench.world import World
from tests.support.settings import MASTER_KEYS
from tests.support.spans import SpanSink

SAMPLED, FULL = "0.1", "1.0"
_START_SECONDS = 40.0
_STOP_SECONDS = 5.0
_MANY = "1000000"
_LONG = "14400"


def answers(url: str) -> Callable[[], bool]:
    """Whether there is a 200 at this URL."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=0.5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    return ask


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test, which is up."""

    child: Child
    address: str

    @property
    def pid(self) -> int:
        """Of its process. Raises BenchError when it has died."""
        pid = self.child.pid
        if pid is None:
            raise BenchError(f"{self.child.name} has died:\n{self.child.log.tail()}")
        return pid

    def stop(self) -> None:
        """End it before the rig is left, so that it is in nobody's way."""
        self.child.stop(_STOP_SECONDS)


class Rig:
    """Starts things in the main thread, and stops all of them when it is left, in the reverse order."""

    def __init__(self, folder: Path, cores: Cores) -> None:
        self.folder = folder
        self.cores = cores
        self._exit = ExitStack()
        self._world: World | None = None

    def __enter__(self) -> Self:
        with self._exit:
            self.postgres = EmbeddedPostgres(self.folder / "postgres")
            self._exit.callback(self.postgres.stop)
            self.postgres.start()
            migrate(self.owner_url)
            self._sink = SpanSink()
            self._exit.callback(self._sink.close)
            self._exit = self._exit.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._exit.close()

    @property
    def owner_url(self) -> str:
        """The database, as the superuser."""
        return self.postgres.url()

    @property
    def app_url(self) -> str:
        """The database, as the app's login."""
        return self.postgres.url(APP_LOGIN)

    def plinth(self, trace_ratio: str) -> Server:
        """Plinth's own server process."""
        address = self._reserve()
        argv = [sys.executable, "-m", "services.cli", "serve", "--address", address]
        argv += ["--metrics-port", self._reserve().rpartition(":")[2]]
        name = f"plinth-{trace_ratio}"
        program = Program(name, argv, lambda: grpc_serving(address), self._plinth_environment(trace_ratio))
        return Server(self._start(program, self.cores.server), address)

    def beside(self, role: str, *cores: int) -> Server:
        """A process of Plinth's beside the server, on its core or on these: `streams` or `worker`."""
        address = self._reserve()
        argv = [sys.executable, "-m", "services.cli", role, "--address", address]
        program = Program(role, argv, lambda: grpc_serving(address), self._plinth_environment(SAMPLED))
        return Server(self._start(program, *cores or [self.cores.server]), address)

    def staged(self, result: Path) -> Server:
        """Plinth with a clock at every stage, which writes what it found to `result` when it is stopped."""
        address = self._reserve()
        argv = [sys.executable, "-m", stages.__name__, "--address", address, "--result", str(result)]
        program = Program("stages", argv, lambda: grpc_serving(address), self._plinth_environment(SAMPLED))
        return Server(self._start(program, self.cores.server), address)

    def bare(self, world: World, *, tuned: bool = False) -> Server:
        """The bare servicer; `tuned` with what Plinth tells the system about its process."""
        address = self._reserve()
        environment = own_environment(**{bare.DATABASE_URL: self.app_url, bare.JWKS: world.jwks})
        argv = [sys.executable, "-m", bare.__name__, "--address", address, *(["--tuned"] if tuned else [])]
        program = Program("bare-tuned" if tuned else "bare", argv, lambda: grpc_serving(address), environment)
        return Server(self._start(program, self.cores.server), address)

    def peer(self, world: World) -> Server:
        """The peer under uvicorn with one worker."""
        address = self._reserve()
        host, _, port = address.rpartition(":")
        environment = own_environment(**{peer.DATABASE_URL: self.app_url, peer.JWKS: world.jwks})
        argv = [sys.executable, "-m", "uvicorn", "--factory", f"{peer.__name__}:{peer.from_environment.__name__}"]
        argv += ["--host", host, "--port", port, "--workers", "1", "--no-access-log", "--log-level", "warning"]
        program = Program("peer", argv, answers(f"http://{address}/healthz"), environment)
        return Server(self._start(program, self.cores.server), address)

    def edge_of_plinth(self, server: str) -> str:
        """Envoy with the generated configuration in front of a Plinth server; where it listens."""
        address = self._reserve()
        host, _, port = address.rpartition(":")
        template = envoy.load_template(ENVOY_DIR / "envoy.json")
        endpoints = {name: [server] for name in envoy.cluster_names(template)}
        edge = envoy.Edge(host, int(port), endpoints, ENVOY_DIR / "image.binpb", envoy.Admin.ADDRESS)
        self._start_envoy("edge-of-plinth", envoy.render(template, edge))
        return address

    def edge_of_peer(self, server: str) -> str:
        """Envoy with nothing but a route to the peer; where it listens."""
        address = self._reserve()
        self._start_envoy("edge-of-peer", plain_edge(address, server))
        return address

    def _start_envoy(self, name: str, config: Mapping[str, Any]) -> None:
        run_dir = self.folder / name
        run_dir.mkdir()
        path = run_dir / "envoy.json"
        path.write_text(json.dumps(config))
        made = envoy.program(path, run_dir=run_dir, ready=envoy.Admin(run_dir).ready, concurrency=1, drain_seconds=1.0)
        self._start(Program(name, made.argv, made.ready, made.env, made.cwd), self.cores.load)

    def _start(self, program: Program, *cores: int) -> Child:
        child = Child(program, LogFile(self.folder / f"{program.name}.log"))
        self._exit.callback(child.stop, _STOP_SECONDS)
        with running_on(*cores):
            child.start()
        wait_until_ready([child], time.monotonic() + _START_SECONDS, lambda *_: None)
        return child

    def _reserve(self) -> str:
        reservation = Reservation()
        self._exit.callback(reservation.close)
        return reservation.address

    def _plinth_environment(self, trace_ratio: str) -> Mapping[str, str]:
        return own_environment(
            PLINTH_DATABASE_URL=self.app_url,
            PLINTH_DATA_DIR=str(self.folder),
            PLINTH_MASTER_KEYS=MASTER_KEYS,
            PLINTH_TRACE_RATIO=trace_ratio,
            PLINTH_OTLP_ENDPOINT=self._sink.address,
            # One user calls as often as the server can answer; the buckets are asked all the same.
            PLINTH_RATE_STANDARD=_MANY,
            PLINTH_RATE_CREDENTIALS=_MANY,
            # Whoever signed in before an index was filled searches it afterwards.
            PLINTH_ACCESS_TOKEN_TTL=_LONG,
        )


def plain_edge(address: str, server: str) -> dict[str, Any]:
    """The least that makes Envoy a reverse proxy: HTTP/1.1 in, HTTP/1.1 out."""
    types = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "peer"}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [{"name": "peer", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    filters: Sequence[dict[str, Any]] = [{"name": "manager", "typed_config": manager}]
    endpoint = {"endpoint": {"address": _socket(server)}}
    return {
        "admin": {"address": {"pipe": {"path": envoy.ADMIN_SOCKET, "mode": 0o600}}},
        "static_resources": {
            "listeners": [{"name": "edge", "address": _socket(address), "filter_chains": [{"filters": filters}]}],
            "clusters": [
                {
                    "name": "peer",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "load_assignment": {"cluster_name": "peer", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        },
    }


def _socket(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
