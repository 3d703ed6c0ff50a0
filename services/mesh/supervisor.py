"""A whole mesh on one machine: PostgreSQL, migrations, servers, streams, worker, Envoy."""

import errno
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from services.mesh import envoy
from services.mesh.children import Backoff, Child, Program, describe_exit, own_environment, wait_until_ready
from services.mesh.console import Report, Silence
from services.mesh.errors import DataDirUnusable, MeshError, MeshNotRunning
from services.mesh.health import grpc_serving
from services.mesh.interrupts import Interrupts
from services.mesh.lock import DirectoryLock
from services.mesh.logs import LogFile
from services.mesh.options import ENVOY_DIR, MeshOptions
from services.mesh.ports import LOOPBACK, Reservation
from services.mesh.postgres import SOCKET_PORT, EmbeddedPostgres

__all__ = ["APP_LOGIN", "ENVOY_DIR", "MeshOptions", "Supervisor", "running_postgres"]

APP_LOGIN = "plinth_app"
TICK_SECONDS = 0.25
POLL_SECONDS = 0.02
# A child that drains as long as it may needs a moment more to end.
STOP_MARGIN_SECONDS = 3.0
# The children of a supervisor that was just killed let the edge's port go within this.
PORT_PATIENCE_SECONDS = 1.0


def running_postgres(data_dir: Path) -> EmbeddedPostgres:
    """The database of the mesh that runs in the data directory, to ask for its URLs. Raises MeshNotRunning."""
    postgres = EmbeddedPostgres(data_dir / "postgres")
    with socket.socket(socket.AF_UNIX) as probe:
        met = probe.connect_ex(str(postgres.socket_dir / f".s.PGSQL.{SOCKET_PORT}"))
    if met in (errno.ENOENT, errno.ECONNREFUSED):
        raise MeshNotRunning(data_dir)
    return postgres


class Supervisor:
    """Starts the processes of a mesh, keeps them up, stops them in order. All of it in the main thread.

    `migrate` brings the database up to date; it gets the owner's URL and runs before the servers start. Use it as a
    context manager (tests, the demo), which leaves the looking after to `look_after`, or `run` it (`plinth up`).
    A data directory has one mesh: a second is refused with DataDirInUse. When this process is killed, the kernel ends
    all the others (see `spawn`), and the next start works on the same data.
    """

    def __init__(self, options: MeshOptions, migrate: Callable[[str], object], report: Report | None = None) -> None:
        self.options = replace(options, data_dir=options.data_dir.expanduser().absolute())
        self.database_url = options.database_url
        self.migrate_database_url = options.migrate_database_url or options.database_url
        self.postgres: EmbeddedPostgres | None = None
        self._migrate = migrate
        self._report = report or Silence()
        self._scratch: Path | None = None
        self._lock = DirectoryLock(self.options.data_dir)
        self._run_dir = self.options.data_dir / "run"
        self._admin = envoy.Admin(self._run_dir)
        self._interrupts = Interrupts()
        self._edge: Reservation | None = None
        self._reservations: list[Reservation] = []
        self._serve_addresses: list[str] = []
        self._streams_address = ""
        self._worker_address = ""
        self._servers: list[Child] = []
        self._streams: Child | None = None
        self._worker: Child | None = None
        self._envoy: Child | None = None
        self._postgres_backoff = Backoff()
        self._postgres_retry_at = 0.0
        self._postgres_since = 0.0

    @classmethod
    def ephemeral(cls, migrate: Callable[[str], object], report: Report | None = None, **options: Any) -> Self:
        """A mesh on free ports and a temporary data directory, which `stop` removes; `options` as of MeshOptions."""
        scratch = Path(tempfile.mkdtemp(prefix="plinth-"))
        # Any: the dataclass is what says which options there are.
        mesh = cls(MeshOptions(**{"data_dir": scratch, "fast": True, **options}), migrate, report)
        mesh._scratch = scratch
        return mesh

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def edge_address(self) -> str:
        """`host:port` of Envoy, for gRPC."""
        if self._edge is None:
            raise RuntimeError("the mesh was not started")
        # What listens everywhere is reached here.
        everywhere = self._edge.host in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)
        return f"{LOOPBACK if everywhere else self._edge.host}:{self._edge.port}"

    @property
    def edge_url(self) -> str:
        """The URL of Envoy, for REST."""
        return f"{'https' if self.options.tls else 'http'}://{self.edge_address}"

    @property
    def serve_address(self) -> str:
        """`host:port` of the first server process."""
        return self._serve_addresses[0]

    @property
    def streams_address(self) -> str:
        """`host:port` of the streams process."""
        return self._streams_address

    @property
    def pids(self) -> dict[str, int]:
        """The running processes by name."""
        found = {child.name: child.pid for child in self._children() if child.pid is not None}
        if self.postgres and self.postgres.running:
            found["postgres"] = self.postgres.pid
        return found

    def serve_address_of(self, domain: str) -> str:
        """`host:port` of a server process that has the domain. Raises LookupError when none has."""
        for address in self.options.servers_of(domain, self._serve_addresses):
            return address
        raise LookupError(domain)

    def log(self, name: str) -> Path:
        """Where the process of that name writes its log."""
        if name == "postgres" and self.postgres:
            return self.postgres.log.path
        return self.options.data_dir / "logs" / f"{name}.log"

    def start(self) -> None:
        """Start everything and wait until it is healthy. Raises the errors of `services.mesh.errors`.

        Leaves nothing behind when it raises, whatever it raises.
        """
        try:
            self._start()
        except BaseException:
            self._interrupts.raising = False
            self.stop()
            raise

    def run(self) -> None:
        """Start, look after everything until SIGINT, SIGTERM or SIGHUP, drain, return. A second signal hurries."""
        with self._interrupts as interrupts:
            try:
                interrupts.raising = True
                self.start()
                interrupts.raising = False
                self._report.addresses(self._urls())
                while not interrupts.stop:
                    interrupts.wait(TICK_SECONDS)
                    self.look_after()
            except KeyboardInterrupt:
                self._report.note("up", "interrupted while starting")
            finally:
                interrupts.raising = False
                self.stop()

    def look_after(self) -> None:
        """One round: start again what has died, and tell so; show new lines of logs."""
        self._look_after_postgres()
        for child in self._children():
            if news := child.look_after():
                self._report.note(child.name, news)
            if self.options.follow_logs:
                for line in child.log.new_lines():
                    self._report.line(child.name, line)
            child.log.rotate()

    def stop(self) -> None:
        """Drain Envoy, then stop servers, streams, worker, Envoy and PostgreSQL, in this order. Idempotent."""
        self._drain_edge()
        for child in self._children():
            if child.started:
                how = child.stop(self.options.drain_seconds + STOP_MARGIN_SECONDS, lambda: self._interrupts.hurry)
                self._report.note(child.name, how)
        self._servers, self._streams, self._worker, self._envoy = [], None, None, None
        if self.postgres:
            self.postgres.stop(smart=0.0 if self._interrupts.hurry else 1.0)
            self._report.note("postgres", "stopped")
            self.postgres = None
        for reservation in self._reservations:
            reservation.close()
        self._reservations = []
        if self._lock.held:
            shutil.rmtree(self._run_dir, ignore_errors=True)
            self._lock.release()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self) -> None:
        options = self.options
        begin = time.monotonic()
        try:
            options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire()
            # What a killed predecessor left: sockets, and a rendered configuration.
            shutil.rmtree(self._run_dir, ignore_errors=True)
            for path in (self._run_dir, options.data_dir / "logs"):
                path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DataDirUnusable(options.data_dir, error.strerror or str(error)) from error
        template = envoy.load_template(options.envoy_template)
        # Before anything is started: a port that is taken is the likeliest thing to go wrong.
        self._edge = Reservation(
            options.port,
            "the edge",
            host=options.host,
            hint="choose another one with --port N",
            patience=PORT_PATIENCE_SECONDS,
        )
        self._reservations.append(self._edge)
        self._start_database()
        self._start_servers(begin + options.start_seconds)
        self._start_envoy(template, begin + options.start_seconds)

    def _start_database(self) -> None:
        begin = time.monotonic()
        if not self.options.database_url:
            self.postgres = EmbeddedPostgres(self.options.data_dir / "postgres", fast=self.options.fast)
            self.postgres.start()
            self.database_url = self.postgres.url(APP_LOGIN)
            self.migrate_database_url = self.postgres.url()
            self._postgres_since = time.monotonic()
            self._report.up("postgres", f"embedded, pid {self.postgres.pid}", time.monotonic() - begin)
        begin = time.monotonic()
        self._migrate(self.migrate_database_url)
        self._report.up("migrations", "done", time.monotonic() - begin)

    def _start_servers(self, deadline: float) -> None:
        options = self.options
        self._serve_addresses = [self._reserve().address for _ in options.domains]
        self._streams_address = self._reserve().address
        self._worker_address = self._reserve().address
        for name, group, address in zip(options.server_names(), options.domains, self._serve_addresses, strict=True):
            domains = ("--domains", ",".join(group)) if group else ()
            self._servers.append(self._role(name, "serve", address, domains, self._login(group)))
        self._streams = self._role("streams", "streams", self._streams_address, (), self.database_url)
        if options.worker:
            self._worker = self._role("worker", "worker", self._worker_address, (), self.database_url)
        children = [child for child in (*self._servers, self._streams, self._worker) if child is not None]
        for child in children:
            child.start()
        wait_until_ready(children, deadline, self._tell_up)

    def _login(self, group: Sequence[str]) -> str:
        """The database as a server process gets it: one that has a single domain can touch nothing else."""
        if self.postgres is None or len(group) != 1:
            return self.database_url
        return self.postgres.url(f"{APP_LOGIN}_{group[0]}")

    def _role(self, name: str, role: str, address: str, more: Sequence[str], database_url: str) -> Child:
        metrics = str(self._reserve().port)
        argv = [*self.options.cli, role, "--address", address, "--metrics-port", metrics, *more]
        program = Program(name, argv, lambda: grpc_serving(address), env=self._environment(database_url))
        return Child(program, LogFile(self.log(name)))

    def _environment(self, database_url: str) -> dict[str, str]:
        """What servers see: the app's login to the database, never the owner's."""
        options = self.options
        env = own_environment(PLINTH_DATABASE_URL=database_url, PLINTH_DATA_DIR=str(options.data_dir))
        env.setdefault("PLINTH_PUBLIC_URL", self.edge_url)
        if options.cors_origins:
            env["PLINTH_CORS_ORIGINS"] = ",".join(options.cors_origins)
        if any(options.domains):
            domains = sorted({domain for group in options.domains for domain in group})
            peers = {domain: self.serve_address_of(domain) for domain in domains} | {"streams": self._streams_address}
            env["PLINTH_PEERS"] = ",".join(f"{peer}={address}" for peer, address in peers.items())
        env.update(options.env)
        env.pop("PLINTH_MIGRATE_DATABASE_URL", None)
        return env

    def _start_envoy(self, template: envoy.Json, deadline: float) -> None:
        """Last: its first health check then finds every server, and its readiness is the mesh's."""
        options = self.options
        endpoints = {
            name: options.servers_of(name.removeprefix(envoy.DOMAIN_CLUSTER_PREFIX), self._serve_addresses)
            for name in envoy.cluster_names(template)
        }
        endpoints[envoy.STREAMS_CLUSTER] = [self._streams_address]
        edge = envoy.Edge(
            host=options.host,
            port=int(self.edge_address.rpartition(":")[2]),
            endpoints=endpoints,
            image=options.image,
            admin=envoy.Admin.ADDRESS,
            tls=options.tls,
            cors_origins=options.cors_origins,
        )
        config = self._run_dir / "envoy.json"
        config.write_text(json.dumps(envoy.render(template, edge), indent=2))
        program = envoy.program(
            config,
            run_dir=self._run_dir,
            ready=self._admin.ready,
            concurrency=options.concurrency,
            drain_seconds=options.drain_seconds,
        )
        self._envoy = Child(program, LogFile(self.log("envoy")))
        self._envoy.start()
        wait_until_ready([self._envoy], deadline, self._tell_up)

    def _reserve(self) -> Reservation:
        reservation = Reservation()
        self._reservations.append(reservation)
        return reservation

    def _tell_up(self, child: Child, seconds: float) -> None:
        addresses = dict(zip(self.options.server_names(), self._serve_addresses, strict=True))
        addresses |= {"streams": self._streams_address, "worker": self._worker_address, "envoy": self.edge_address}
        self._report.up(child.name, f"{addresses[child.name]}, pid {child.pid}", seconds)

    def _urls(self) -> dict[str, str]:
        servers = dict(zip(self.options.server_names(), self._serve_addresses, strict=True))
        database = {"database": self.database_url} if self.postgres else {}
        logs = {"logs": str(self.options.data_dir / "logs")}
        return {"REST": self.edge_url, "gRPC": self.edge_address, **servers, **database, **logs}

    def _children(self) -> list[Child]:
        """In the order in which they stop."""
        return [child for child in (*self._servers, self._streams, self._worker, self._envoy) if child is not None]

    def _look_after_postgres(self) -> None:
        postgres, now = self.postgres, time.monotonic()
        if postgres is None or postgres.running or now < self._postgres_retry_at:
            return
        if postgres.exit_status is not None:
            self._report.note("postgres", f"{describe_exit(postgres.exit_status)}, starts again")
        self._postgres_retry_at = now + self._postgres_backoff.next(now - self._postgres_since)
        try:
            postgres.start()
        except MeshError as error:
            self._report.note("postgres", str(error))
            return
        self._postgres_since = time.monotonic()
        self._report.note("postgres", f"is back (pid {postgres.pid})")

    def _drain_edge(self) -> None:
        """Let no new call in, and wait for the running ones; streams go on until their own process ends them."""
        if self._envoy is None or self._envoy.pid is None:
            return
        deadline = time.monotonic() + self.options.drain_seconds
        try:
            self._admin.drain()
            while self._admin.active_requests() and time.monotonic() < deadline and not self._interrupts.hurry:
                time.sleep(POLL_SECONDS)
        except OSError as error:
            # It may have died meanwhile; the servers drain by themselves all the same.
            self._report.note("envoy", f"could not be drained: {error}")
