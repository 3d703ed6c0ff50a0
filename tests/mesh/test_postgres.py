import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from services.mesh import binaries, postmaster
from services.mesh.errors import DataDirInUse, DataDirUnusable, DataDirVersion, MeshError, PortTaken, StartFailed
from services.mesh.ports import Reservation
from services.mesh.postgres import EmbeddedPostgres
from tests.support.waiting import descendants, until, until_gone

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about running as root")
HERE = Path(__file__).parent


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "pg", fast=True) as made:
        yield made


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    return row[0] if row else None


def write(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


class TestStart:
    def test_an_empty_directory_becomes_a_database_with_pgvector(self, server: EmbeddedPostgres) -> None:
        write(server.url(), "create extension vector")
        assert ask(server.url(), "select '[3,4]'::vector <-> '[0,0]'::vector") == 5.0
        assert ask(server.url(), "select current_database()") == "plinth"
        assert str(ask(server.url(), "show server_version")).startswith("18.")

    def test_any_role_logs_in_over_the_socket_without_a_password(self, server: EmbeddedPostgres) -> None:
        write(server.url(), "create role plinth_app login")
        assert ask(server.url("plinth_app"), "select current_user") == "plinth_app"
        assert ask(server.url("plinth_app", database="postgres"), "select current_database()") == "postgres"

    def test_what_the_environment_calls_us_does_not_matter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("USER", "LOGNAME"):
            monkeypatch.setenv(name, "somebody")
        with EmbeddedPostgres(tmp_path / "pg", fast=True) as server:
            assert ask(server.url(), "select 1") == 1

    def test_data_and_url_outlast_a_stop(self, server: EmbeddedPostgres) -> None:
        url = server.url()
        write(url, "create table kept (n int)", "insert into kept values (7)")
        server.stop()
        server.start()
        assert server.url() == url
        assert ask(url, "select n from kept") == 7

    def test_a_start_while_it_runs_does_nothing(self, server: EmbeddedPostgres) -> None:
        pid = server.pid
        server.start()
        assert server.pid == pid

    def test_durability_is_on_unless_given_up(self, tmp_path: Path, server: EmbeddedPostgres) -> None:
        assert ask(server.url(), "show fsync") == "off"
        with EmbeddedPostgres(tmp_path / "durable", settings={"work_mem": "5MB"}) as durable:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                assert ask(durable.url(), f"show {setting}") == "on"
            assert ask(durable.url(), "show work_mem") == "5MB"

    def test_a_path_too_long_for_a_socket_gets_a_short_link(self, tmp_path: Path) -> None:
        server = EmbeddedPostgres(tmp_path / ("long" * 30), fast=True)
        with server:
            url = server.url()
            assert ask(url, "select 1") == 1
            link = server.socket_dir
            assert link.is_symlink()
            assert stat.S_IMODE(link.parent.stat().st_mode) == 0o700
            server.stop()
            assert not link.parent.exists()
            server.start()
            assert ask(url, "select 1") == 1
        assert not link.parent.exists()

    def test_another_process_of_ours_finds_the_same_url(self, tmp_path: Path) -> None:
        path = tmp_path / ("long" * 30)
        with EmbeddedPostgres(path, fast=True) as server:
            assert EmbeddedPostgres(path).url() == server.url()
            with pytest.raises(DataDirInUse):
                EmbeddedPostgres(path).start()
            assert ask(server.url(), "select 1") == 1

    @needs_root
    def test_a_link_that_somebody_else_put_there_is_refused(self, tmp_path: Path) -> None:
        server = EmbeddedPostgres(tmp_path / ("long" * 30), fast=True)
        directory = server.socket_dir.parent
        directory.mkdir(mode=0o755)
        os.chown(directory, 65534, 65534)
        try:
            with pytest.raises(MeshError, match="should be ours alone"):
                server.url()
            with pytest.raises(MeshError, match="should be ours alone"):
                server.start()
        finally:
            directory.rmdir()

    def test_what_an_initdb_cut_short_left_is_not_taken_for_data(self, tmp_path: Path) -> None:
        with pytest.raises(StartFailed, match="initdb took longer"):
            EmbeddedPostgres(tmp_path / "pg", fast=True, timeout=-1.0).start()
        assert not (tmp_path / "pg" / "pgdata").exists()
        with EmbeddedPostgres(tmp_path / "pg", fast=True) as server:
            assert ask(server.url(), "select 1") == 1


class TestWhoMayConnect:
    @needs_root
    def test_it_runs_as_nobody_special_below_a_directory_that_only_root_may_enter(
        self, tmp_path: Path, server: EmbeddedPostgres
    ) -> None:
        assert stat.S_IMODE(tmp_path.stat().st_mode) & 0o077 == 0
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert stat.S_IMODE(tmp_path.stat().st_mode) & 0o077 == 0

    @needs_root
    def test_another_user_of_the_machine_is_kept_out(self) -> None:
        with (
            tempfile.TemporaryDirectory(dir="/tmp") as folder,
            EmbeddedPostgres(Path(folder) / "pg", fast=True) as server,
        ):
            # Even with every directory open, the kernel tells who is calling.
            for path in (Path(folder), server.data_dir, server.pgdata):
                path.chmod(0o755)
            psql = [str(binaries.find_installation() / "bin" / "psql"), "-c", "select 1", server.url()]
            found = subprocess.run(psql, user="nobody", capture_output=True, text=True, check=False, cwd="/")
        assert found.returncode != 0
        assert "Peer authentication failed" in found.stderr

    def test_tcp_takes_the_password_and_nothing_else(self, tmp_path: Path) -> None:
        with EmbeddedPostgres(tmp_path / "pg", fast=True, port=0) as server:
            assert ask(server.tcp_url(), "select 1") == 1
            assert ask(server.url(), "select 1") == 1
            stored = tmp_path / "pg" / "superuser.password"
            assert stat.S_IMODE(stored.stat().st_mode) == 0o600
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                ask(server.tcp_url(password="guess"), "select 1")
            write(server.url(), "create role without_password login")
            with pytest.raises(psycopg.OperationalError):
                ask(server.tcp_url("without_password"), "select 1")

    def test_without_a_port_nothing_listens_on_tcp(self, server: EmbeddedPostgres) -> None:
        assert ask(server.url(), "show listen_addresses") == ""
        with pytest.raises(RuntimeError):
            server.tcp_url()

    def test_our_secrets_are_not_in_its_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLINTH_MASTER_KEYS", "k1:secret")
        monkeypatch.setenv("PGPORT", "1")
        with EmbeddedPostgres(tmp_path / "pg", fast=True) as server:
            assert b"secret" not in Path(f"/proc/{server.pid}/environ").read_bytes()

    @needs_root
    def test_a_link_planted_in_its_directory_is_not_followed_by_root(
        self, tmp_path: Path, server: EmbeddedPostgres
    ) -> None:
        victim = tmp_path / "victim"
        victim.write_text("mine")
        server.stop()
        (server.pgdata / "pg_hba.conf").unlink()
        (server.pgdata / "pg_hba.conf").symlink_to(victim)
        server.start()
        assert victim.read_text() == "mine"


class TestRefusals:
    def test_a_taken_port_is_named(self, tmp_path: Path) -> None:
        taken = Reservation()
        taken._socket.listen()
        try:
            with pytest.raises(PortTaken, match=f"Port {taken.port} for PostgreSQL is taken"):
                EmbeddedPostgres(tmp_path / "pg", fast=True, port=taken.port).start()
        finally:
            taken.close()

    def test_a_second_owner_is_told_who_the_first_is(self, tmp_path: Path, server: EmbeddedPostgres) -> None:
        with pytest.raises(DataDirInUse, match=f"in use by process {os.getpid()}"):
            EmbeddedPostgres(tmp_path / "pg", fast=True).start()
        assert ask(server.url(), "select 1") == 1

    def test_data_of_another_version_is_left_alone(self, server: EmbeddedPostgres) -> None:
        server.stop()
        (server.pgdata / "PG_VERSION").write_text("16\n")
        with pytest.raises(DataDirVersion, match="written by PostgreSQL 16, this is PostgreSQL 18"):
            server.start()

    def test_a_place_that_cannot_be_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(DataDirUnusable, match="cannot be used as a data directory: Not a directory"):
            EmbeddedPostgres(tmp_path / "file" / "pg").start()

    def test_a_bad_setting_shows_the_log(self, tmp_path: Path) -> None:
        server = EmbeddedPostgres(tmp_path / "pg", fast=True, settings={"shared_buffers": "lots"})
        with pytest.raises(StartFailed, match='invalid value for parameter "shared_buffers"'):
            server.start()
        assert not server.running

    def test_another_thread_may_not_start_it(self, server: EmbeddedPostgres) -> None:
        server.stop()
        raised: list[BaseException] = []

        def start() -> None:
            try:
                server.start()
            except RuntimeError as error:
                raised.append(error)

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        assert "main thread" in str(raised[0])


class TestStop:
    def test_an_idle_client_does_not_hold_it_up(self, server: EmbeddedPostgres) -> None:
        pid = server.pid
        with psycopg.connect(server.url()):
            server.stop(smart=0.1)
        until_gone([pid], 0.0)

    def test_a_stop_waits_for_the_last_client_first(self, server: EmbeddedPostgres) -> None:
        connection = psycopg.connect(server.url(), autocommit=True)
        connection.execute("create table kept (n int)")
        log = server.log.path

        def leave() -> None:
            until(lambda: "received smart shutdown request" in log.read_text(), "a polite request")
            connection.execute("insert into kept values (1)")
            connection.close()

        closer = threading.Thread(target=leave)
        closer.start()
        server.stop(smart=10.0)
        closer.join()
        server.start()
        assert ask(server.url(), "select count(*) from kept") == 1


class TestCrash:
    def test_it_comes_up_after_a_kill_of_the_postmaster(self, tmp_path: Path) -> None:
        with EmbeddedPostgres(tmp_path / "pg", settings={"full_page_writes": "on"}) as server:
            write(server.url(), "create table kept (n int)", "insert into kept values (7)")
            with psycopg.connect(server.url()) as busy:  # its backend outlives the postmaster for a moment
                os.kill(server.pid, signal.SIGKILL)
                until(lambda: not server.running, "the end of the postmaster")
                assert server.exit_status == -signal.SIGKILL
                server.start()
                busy.close()
            assert ask(server.url(), "select n from kept") == 7

    def test_a_kill_of_its_owner_leaves_no_process_and_the_data_usable(self, tmp_path: Path) -> None:
        command = [sys.executable, str(HERE / "postgres_owner.py"), str(tmp_path / "pg")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
            assert owner.stdout is not None
            postmaster_pid = int(owner.stdout.readline())
            pids = [postmaster_pid, *descendants(postmaster_pid)]
            assert len(pids) > 3
            owner.kill()
        until_gone(pids)
        with EmbeddedPostgres(tmp_path / "pg", fast=True) as server:
            assert ask(server.url(), "select n from kept") == 7

    def test_a_start_right_after_the_kill_waits_for_the_old_one_to_go(self, tmp_path: Path) -> None:
        command = [sys.executable, str(HERE / "postgres_owner.py"), str(tmp_path / "pg")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
            assert owner.stdout is not None
            owner.stdout.readline()
            owner.kill()
        with EmbeddedPostgres(tmp_path / "pg", fast=True) as server:
            assert ask(server.url(), "select n from kept") == 7

    def test_a_living_server_on_the_directory_is_not_disturbed(self, tmp_path: Path, server: EmbeddedPostgres) -> None:
        server._lock.release()  # as if it had been started by hand
        with pytest.raises(DataDirInUse, match=f"process {server.pid}"):
            EmbeddedPostgres(tmp_path / "pg", fast=True, timeout=0.2).start()
        assert ask(server.url(), "select 1") == 1


class TestSomebodyInTheWay:
    """The number in postmaster.pid belongs to a process that is no server of this directory."""

    @pytest.fixture
    def bystander(self, server: EmbeddedPostgres) -> Iterator[subprocess.Popen[bytes]]:
        # Of the server's user: PostgreSQL itself minds no others.
        user = server.pgdata.stat().st_uid
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=user if os.geteuid() == 0 else None) as process:
            yield process
            process.kill()

    def test_a_zombie_postmaster(self, tmp_path: Path, server: EmbeddedPostgres) -> None:
        pid = server.pid
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays unreaped
        assert postmaster.process_state(pid) == "Z"
        server._lock.release()
        with EmbeddedPostgres(tmp_path / "pg", fast=True) as second:
            assert postmaster.process_state(pid) == "Z"
            assert ask(second.url(), "select 1") == 1

    def test_a_reused_pid(self, server: EmbeddedPostgres, bystander: subprocess.Popen[bytes]) -> None:
        self._leave_pid(server, bystander.pid)
        server.start()
        assert ask(server.url(), "select 1") == 1
        assert bystander.poll() is None

    def test_a_reused_pid_that_is_a_postgres_of_another_directory(
        self, tmp_path: Path, server: EmbeddedPostgres
    ) -> None:
        with EmbeddedPostgres(tmp_path / "other", fast=True) as other:
            self._leave_pid(server, other.pid)
            server.start()
            assert ask(server.url(), "select 1") == 1
            assert ask(other.url(), "select 1") == 1

    @pytest.mark.parametrize("text", ["", "0\n", "-1\n", "not a number\n"])
    def test_a_pid_file_that_makes_no_sense(self, server: EmbeddedPostgres, text: str) -> None:
        server.stop()
        (server.pgdata / "postmaster.pid").write_text(text)
        server.start()
        assert ask(server.url(), "select 1") == 1

    def test_without_the_guard_postgres_refuses(
        self, server: EmbeddedPostgres, bystander: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._leave_pid(server, bystander.pid)
        monkeypatch.setattr(postmaster, "remove_stale_files", lambda pgdata: None)
        with pytest.raises(StartFailed, match=r'lock file "postmaster\.pid" already exists'):
            server.start()

    def _leave_pid(self, server: EmbeddedPostgres, pid: int) -> None:
        """As a kill leaves things: pid file and socket lock with a number that now is somebody else's."""
        left = (server.pgdata / "postmaster.pid").read_text().splitlines()
        server.stop()
        (server.pgdata / "postmaster.pid").write_text("\n".join([str(pid), *left[1:]]) + "\n")
        (server.pgdata / ".s.PGSQL.5432.lock").write_text("\n".join([str(pid), *left[1:]]) + "\n")
