import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.mesh.errors import DataDirInUse, MeshError, PortTaken, StartFailed
from services.mesh.ports import Reservation, free_port
from services.mesh.supervisor import MeshOptions, Supervisor
from tests.mesh.up import migrate
from tests.support.waiting import PATIENCE_SECONDS, connects, descendants, until, until_gone

pytestmark = pytest.mark.e2e
HERE = Path(__file__).parent
FAKE = (sys.executable, str(HERE / "fake_cli.py"))


class Notes:
    """A report that remembers, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.lines: list[tuple[str, str]] = []

    def up(self, name: str, detail: str, seconds: float) -> None:
        self.told.append((name, f"up {detail}"))

    def note(self, name: str, text: str) -> None:
        self.told.append((name, text))

    def line(self, name: str, text: str) -> None:
        self.lines.append((name, text))

    def addresses(self, urls: Mapping[str, str]) -> None:
        self.told.append(("addresses", str(urls)))

    def has(self, name: str, text: str) -> bool:
        return any(told == name and text in what for told, what in self.told)

    def names(self) -> list[str]:
        return [name for name, _ in self.told]


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def mesh(notes: Notes) -> Iterator[Supervisor]:
    with Supervisor.ephemeral(migrate, notes, cli=FAKE) as made:
        yield made


def get(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def check(address: str, service: str = "") -> int:
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=PATIENCE_SECONDS).status)


def look_until(mesh: Supervisor, condition: Callable[[], object], what: str) -> None:
    """Look after the mesh, as `run` does, until the condition holds."""

    def look() -> object:
        mesh.look_after()
        return condition()

    until(look, what)


class TestMesh:
    def test_all_of_it_answers_and_nothing_is_left_after(self, mesh: Supervisor) -> None:
        assert sorted(mesh.pids) == ["envoy", "postgres", "serve", "streams", "worker"]
        assert get(mesh.edge_address, "/healthz") == 200
        assert mesh.edge_url == f"http://{mesh.edge_address}"
        for address in (mesh.edge_address, mesh.serve_address, mesh.streams_address):
            assert check(address) == health_pb2.HealthCheckResponse.SERVING
        with psycopg.connect(mesh.database_url) as connection:
            assert connection.execute("select current_user").fetchone() == ("plinth_app",)
        pids, scratch = list(mesh.pids.values()), mesh.options.data_dir
        mesh.stop()
        until_gone(pids, 0.0)
        assert mesh.pids == {}
        assert not scratch.exists()

    def test_the_parts_are_told_as_they_come(self, mesh: Supervisor, notes: Notes) -> None:
        assert notes.names()[:2] == ["postgres", "migrations"]
        assert sorted(notes.names()[2:5]) == ["serve", "streams", "worker"]
        assert notes.names()[5:] == ["envoy"]

    def test_it_stops_in_order(self, mesh: Supervisor, notes: Notes) -> None:
        notes.told.clear()
        mesh.stop()
        assert notes.names() == ["serve", "streams", "worker", "envoy", "postgres"]
        mesh.stop()
        assert len(notes.told) == 5

    def test_servers_do_not_get_the_owners_login(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLINTH_MIGRATE_DATABASE_URL", "postgresql://owner:secret@db/plinth")
        options = MeshOptions(tmp_path / "data", cli=FAKE, fast=True, env={"PLINTH_LOG_LEVEL": "DEBUG"})
        with Supervisor(options, migrate) as mesh:
            for role in ("serve", "streams", "worker"):
                seen = mesh.log(role).read_text()
                assert f"PLINTH_DATABASE_URL={mesh.database_url}" in seen
                assert f"PLINTH_PUBLIC_URL={mesh.edge_url}" in seen
                assert "PLINTH_LOG_LEVEL=DEBUG" in seen
                assert "owner" not in seen

    def test_a_database_elsewhere_is_used_as_it_is(self, mesh: Supervisor) -> None:
        migrated: list[str] = []
        with Supervisor.ephemeral(
            migrated.append,
            cli=FAKE,
            database_url=mesh.database_url,
            migrate_database_url=mesh.migrate_database_url,
        ) as second:
            assert sorted(second.pids) == ["envoy", "serve", "streams", "worker"]
            assert second.database_url == mesh.database_url
            assert migrated == [mesh.migrate_database_url]

    def test_domains_in_processes_of_their_own(self) -> None:
        with Supervisor.ephemeral(
            migrate, cli=FAKE, domains=(("identity",), ("tenancy", "projects", "documents", "search", "events"))
        ) as mesh:
            servers = ["serve-identity", "serve-tenancy-projects-documents-search-events"]
            assert sorted(mesh.pids) == ["envoy", "postgres", *servers, "streams", "worker"]
            identity, tenancy = mesh.serve_address_of("identity"), mesh.serve_address_of("tenancy")
            assert identity != tenancy == mesh.serve_address_of("events")
            log = mesh.log("serve-tenancy-projects-documents-search-events").read_text()
            assert f"identity={identity},projects={tenancy},search={tenancy},tenancy={tenancy}" in log
            assert "'--domains', 'tenancy,projects,documents,search,events'" in log
            assert get(mesh.edge_address, "/healthz") == 200

    def test_two_processes_of_the_same_kind(self) -> None:
        with Supervisor.ephemeral(migrate, cli=FAKE, domains=((), ())) as mesh:
            assert sorted(mesh.pids) == ["envoy", "postgres", "serve", "serve-2", "streams", "worker"]


class TestRefusals:
    def test_a_taken_port_is_told_before_anything_starts(self, tmp_path: Path, notes: Notes) -> None:
        taken = Reservation()
        taken._socket.listen()
        try:
            options = MeshOptions(tmp_path / "data", port=taken.port, cli=FAKE)
            with pytest.raises(PortTaken, match=rf"Port {taken.port} for the edge is taken .* with --port N"):
                Supervisor(options, migrate, notes).start()
        finally:
            taken.close()
        assert notes.told == []
        assert not (tmp_path / "data" / "postgres").exists()

    def test_a_second_mesh_on_the_same_data(self, tmp_path: Path) -> None:
        options = MeshOptions(tmp_path / "data", cli=FAKE, fast=True)
        with Supervisor(options, migrate) as mesh:
            with pytest.raises(DataDirInUse, match=f"in use by process {os.getpid()}"):
                Supervisor(options, migrate).start()
            assert get(mesh.edge_address, "/healthz") == 200

    def test_a_server_that_does_not_start_shows_its_log(self) -> None:
        before = descendants(os.getpid())
        with pytest.raises(StartFailed, match=r"(?s)streams did not start: it ended with status 1.*broken on purpose"):
            Supervisor.ephemeral(migrate, cli=FAKE, env={"FAKE_BREAK": "streams"}).start()
        until_gone([pid for pid in descendants(os.getpid()) if pid not in before])

    def test_migrations_that_fail_stop_what_had_started(self) -> None:
        def fail(url: str) -> None:
            raise LookupError("no such revision")

        before = descendants(os.getpid())
        with pytest.raises(LookupError):
            Supervisor.ephemeral(fail, cli=FAKE).start()
        until_gone([pid for pid in descendants(os.getpid()) if pid not in before])

    def test_a_contract_that_was_not_generated(self, tmp_path: Path) -> None:
        with pytest.raises(MeshError, match=r"Generate it with `make gen`"):
            Supervisor.ephemeral(migrate, cli=FAKE, envoy_template=tmp_path / "none.json").start()


class TestLookingAfter:
    def test_what_dies_comes_back_at_its_address(self, mesh: Supervisor, notes: Notes) -> None:
        for name, pid in mesh.pids.items():
            os.kill(pid, signal.SIGKILL)
            look_until(mesh, lambda name=name: notes.has(name, "is back"), f"{name} again")  # type: ignore[misc]  # bound now
            assert notes.has(name, "was ended by SIGKILL"), name
            assert mesh.pids[name] != pid
            until(lambda: get(mesh.edge_address, "/healthz") == 200, f"health at the edge, with another {name}")
            with psycopg.connect(mesh.database_url) as connection:
                assert connection.execute("select 1").fetchone() == (1,), name

    def test_lines_of_logs_are_shown_when_asked_for(self, notes: Notes) -> None:
        with Supervisor.ephemeral(migrate, notes, cli=FAKE, follow_logs=True) as mesh:
            mesh.look_after()
            assert ("serve", f"PLINTH_DATABASE_URL={mesh.database_url}") in notes.lines
            seen = len(notes.lines)
            mesh.look_after()
            assert len(notes.lines) == seen


class TestDrain:
    def test_a_call_under_way_is_answered(self, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        with UpProcess(tmp_path / "data") as up:
            with grpc.insecure_channel(up.edge) as channel:
                request = health_pb2.HealthCheckRequest(service=f"wait:{fifo}")
                answer = health_pb2_grpc.HealthStub(channel).Check.future(request, timeout=PATIENCE_SECONDS)
                log = tmp_path / "data" / "logs" / "serve.log"
                until(lambda: "waiting" in log.read_text(), "the call at the server")
                up.process.send_signal(signal.SIGINT)
                until(lambda: not connects(up.edge), "a closed edge")
                assert "serve got signal" not in log.read_text()
                fifo.write_text("go on")
                assert answer.result().status == health_pb2.HealthCheckResponse.SERVING
            assert up.process.wait(PATIENCE_SECONDS) == 0
            assert log.read_text().index("answering") < log.read_text().index("serve got signal 15")

    def test_a_second_signal_waits_for_nobody(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAKE_STUBBORN", "serve")
        with UpProcess(tmp_path / "data") as up:
            pids = descendants(up.process.pid)
            up.process.send_signal(signal.SIGTERM)
            until(lambda: not connects(up.edge), "a closed edge")
            up.process.send_signal(signal.SIGTERM)
            assert up.process.wait(PATIENCE_SECONDS) == 0  # the drain alone may take longer
            until_gone(pids)


class TestUp:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_stops_everything(self, tmp_path: Path, number: signal.Signals) -> None:
        with UpProcess(tmp_path / "data") as up:
            pids = descendants(up.process.pid)
            up.process.send_signal(number)
            assert up.process.wait(PATIENCE_SECONDS) == 0
            until_gone(pids)
            assert not (tmp_path / "data" / "run").exists()

    def test_a_kill_leaves_no_process_and_the_next_start_works_on_the_same_data(self, tmp_path: Path) -> None:
        port = free_port()
        with UpProcess(tmp_path / "data", port) as up:
            with psycopg.connect(up.database, autocommit=True) as connection:
                assert connection.execute("select session_user").fetchone() == ("plinth_app",)
                connection.execute("insert into kept values (7)")
            pids = descendants(up.process.pid)
            assert len(pids) > 6
            up.process.kill()
        with UpProcess(tmp_path / "data", port) as up:
            until_gone(pids)
            with psycopg.connect(up.database) as connection:
                assert connection.execute("select n from kept").fetchall() == [(7,)]

    def test_a_signal_while_it_starts_leaves_nothing(self, tmp_path: Path) -> None:
        up = UpProcess(tmp_path / "data")
        try:
            until(lambda: len(descendants(up.process.pid)) > 1, "the first children")
            pids = descendants(up.process.pid)
            up.process.send_signal(signal.SIGTERM)
            assert up.process.wait(PATIENCE_SECONDS) == 0
            until_gone(pids)
        finally:
            up.close()

    def test_what_went_wrong_is_one_plain_sentence(self, tmp_path: Path) -> None:
        with UpProcess(tmp_path / "data"):
            command = [sys.executable, str(HERE / "up.py"), str(tmp_path / "data"), "0"]
            second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
        assert second.returncode == 1
        assert re.fullmatch(
            r".* is in use by process \d+\. Stop it first, or use another data directory\.\n", second.stderr
        )


class UpProcess:
    """`up.py` in a process of its own; entered, it waits until that has printed its addresses."""

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        command = [sys.executable, str(HERE / "up.py"), str(data_dir), str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.edge = self.database = ""

    def __enter__(self) -> "UpProcess":
        assert self.process.stdout is not None
        printed = []
        for line in self.process.stdout:
            printed.append(line)
            label, _, value = line.strip().partition(" ")
            if label == "gRPC":
                self.edge = value.strip()
            if label == "database":
                self.database = value.strip()
            if label == "logs":
                return self
        self.close()
        raise AssertionError("".join(printed))

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
