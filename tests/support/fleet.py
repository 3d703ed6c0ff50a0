"""A whole mesh of real processes on one database: three servers, streams and the edge, and hands to break it with."""

import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from interceptors.outgoing import open_channel
from interceptors.service_token import ServiceTokens
from services.administration import read_mail
from services.kernel import migrations
from services.kernel.secrets import Keyring
from services.mesh.health import grpc_serving
from services.mesh.supervisor import Supervisor
from tests.support import settings
from tests.support.people import People
from tests.support.stubs import Stubs, with_token
from tests.support.waiting import PATIENCE_SECONDS

SERVERS = 3
# Those that have a feed: the servers and the streams process. A worker lets nobody in.
PROCESSES = SERVERS + 1
_FEEDS = "select pid from pg_stat_activity where application_name = 'plinth-feed'"
# As in production but for what costs time or what a test meets by accident; servers that are overloaded say so soon.
ENVIRONMENT = settings.ENVIRONMENT | {"PLINTH_MAX_QUEUE_SECONDS": "1"}
# Each test hears at once what a connection of its own can do, whatever the tests before have broken.
_IMPATIENT = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200))


class Fleet:
    """Used by the main thread, which alone may start processes; calls may be made from any."""

    def __init__(self, mesh: Supervisor) -> None:
        self.mesh = mesh
        self.settings = settings.settings_for_tests(database_url=mesh.database_url)
        self.tokens = ServiceTokens(Keyring.parse(settings.MASTER_KEYS))
        self.servers = [self.channel(self.address(server)) for server in range(SERVERS)]
        self.edge = self.channel(mesh.edge_address)
        self.people = People(self.servers[0], self.read_mail)
        self._pause = threading.Event()

    @property
    def _children(self) -> Sequence[Any]:
        return self.mesh._servers

    def _option(self, server: int, name: str) -> str:
        argv = self._children[server].program.argv
        return str(argv[argv.index(name) + 1])

    @property
    def owner_url(self) -> str:
        """The database as its owner, past every policy."""
        return self.mesh.migrate_database_url

    def address(self, server: int) -> str:
        """`host:port` of a server process."""
        return self._option(server, "--address")

    @staticmethod
    def channel(address: str) -> grpc.Channel:
        """A channel with connections of its own."""
        return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), *_IMPATIENT])

    def everywhere(self, token: str) -> list[Stubs]:
        """Stubs on each server for who has this token or key."""
        return [Stubs(with_token(channel, token)) for channel in self.servers]

    @contextmanager
    def streams(self) -> Iterator[grpc.Channel]:
        """A channel to the streams process that proves itself as the chain's."""
        with open_channel(
            self.mesh.streams_address, self.tokens, "chain", max_bytes=self.settings.max_message_bytes
        ) as channel:
            yield channel

    def read_mail(self, email: str) -> list[str]:
        """The texts that an address was sent, the newest first."""
        return [mail.text for mail in read_mail(self.settings, recipient=email)]

    def metrics(self, server: int) -> dict[str, float]:
        """What a server tells Prometheus: calls by method name under `calls:…`, gauges under their names."""
        port = self._option(server, "--metrics-port")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_SECONDS) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        found: dict[str, float] = {}
        for sample in (sample for family in families for sample in family.samples):
            if sample.name == "plinth_rpc_duration_seconds_count":
                key = f"calls:{sample.labels['method']}"
                found[key] = found.get(key, 0) + sample.value
            elif not sample.labels:
                found[sample.name] = sample.value
        return found

    def until(
        self, condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS, *, look_after: bool = True
    ) -> float:
        """Look after the mesh until the condition holds; how long that took, in seconds. Fails with `what`.

        Without `look_after`, what has died stays dead.
        """
        began = time.monotonic()
        while not condition():
            if look_after:
                self.mesh.look_after()
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds:g} s: {what}")
            self._pause.wait(0.02)
        return time.monotonic() - began

    def database(self) -> "psycopg.Connection[Any]":
        """A connection of the owner's, in autocommit."""
        return psycopg.connect(self.owner_url, autocommit=True)

    def end_feeds(self) -> int:
        """End the connections that servers listen on; how many there were."""
        with self.database() as connection:
            ended = connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'plinth-feed'"
            )
            return ended.rowcount

    @contextmanager
    def silent_feeds(self) -> Iterator[None]:
        """Nothing is heard on the connections that servers listen on, and nothing tells them so."""
        with self.database() as connection:
            pids = [pid for (pid,) in connection.execute(_FEEDS)]
        assert len(pids) == PROCESSES
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def feeds_healthy(self) -> bool:
        """Whether every server hears its feed."""
        return all(self.metrics(server)["plinth_feed_healthy"] == 1 for server in range(SERVERS))

    def feeds_listen(self) -> bool:
        """Whether every process has listened to the database, as it runs now, for a second."""
        with self.database() as connection:
            listening = connection.execute(
                "select from pg_stat_activity where application_name = 'plinth-feed'"
                " and state_change > backend_start + interval '1 second'"
            )
            return listening.rowcount == PROCESSES

    def signal_postgres(self, number: signal.Signals) -> None:
        """End the database; the supervisor starts it again once it is looked after. Returns when it is gone."""
        postgres = self.mesh.postgres
        assert postgres is not None
        os.kill(postgres.pid, number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while postgres.running:
            assert time.monotonic() < deadline, "PostgreSQL does not end"
            self._pause.wait(0.01)

    def postgres_is_back(self) -> bool:
        """Whether the database takes connections."""
        return self.mesh.postgres is not None and self.mesh.postgres.running

    def kill_servers(self) -> None:
        """kill -9 every server process; the supervisor starts them again once it is looked after."""
        for child in self._children:
            if child.pid is not None:
                os.kill(child.pid, signal.SIGKILL)

    def servers_are_back(self) -> bool:
        """Whether every server process serves."""
        return all(grpc_serving(self.address(server)) for server in range(SERVERS))


def _migrate(url: str) -> None:
    migrations.migrate(url)


@contextmanager
def running_fleet() -> Iterator[Fleet]:
    """Start the mesh, durable as in production, and stop it in the end."""
    mesh = Supervisor.ephemeral(
        _migrate,
        domains=((),) * SERVERS,
        env=ENVIRONMENT,
        fast=False,
        drain_seconds=2.0,
        start_seconds=60.0,
    )
    with mesh:
        fleet = Fleet(mesh)
        fleet.until(fleet.feeds_healthy, "every server hears the feed")
        yield fleet
