"""PostgreSQL 18 with pgvector out of a wheel, as a child that ends with us."""

import hashlib
import os
import pwd
import secrets
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from services.mesh import postmaster
from services.mesh.binaries import MAJOR_VERSION, find_installation, system_user, usable_installation
from services.mesh.errors import (
    DataDirInUse,
    DataDirUnusable,
    DataDirVersion,
    MeshError,
    PortTaken,
    StartFailed,
    UnsupportedPlatform,
)
from services.mesh.lock import DirectoryLock
from services.mesh.logs import LogFile
from services.mesh.ports import LOOPBACK, free_port, require_free
from services.mesh.spawn import SystemUser, spawn

SUPERUSER = "postgres"
SOCKET_PORT = 5432  # names the socket when there is no TCP port
SUN_PATH_BYTES = 107  # of sockaddr_un, without the closing zero

# The kernel's link to the working directory, which every process of the server has on its data directory. The server
# names files by it, so an unprivileged user needs no right on the directories above (pytest's tmp_path, /root: 0700).
HERE = "/proc/self/cwd"

SETTINGS: Mapping[str, str] = {
    "shared_buffers": "128MB",
    "max_connections": "100",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
    "lc_messages": "C",
}
# For data that a test throws away: nothing of it survives a power cut.
FAST_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
}


class EmbeddedPostgres:
    """One PostgreSQL server on `data_dir`, owned by this process.

    `data_dir` holds `pgdata/`, `postgres.log`, `lock` and, once TCP was open, `superuser.password` (mode 0600).
    Connections come over a Unix socket inside `pgdata` (mode 0700); on it the kernel vouches for the peer, and our own
    user may log in as every role (`peer`), without a password. With `port` (0: any free one) the server also listens
    on loopback, with scram-sha-256. `url` follows from `data_dir` and `port`: other processes of ours may ask too.

    The server gets SIGINT (fast shutdown) from the kernel when this process dies, and is started by the main thread.
    `fast` gives up durability, for tests. `settings` adds to and overrides SETTINGS. Not thread-safe.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        fast: bool = False,
        database: str = "plinth",
        settings: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.data_dir = data_dir.expanduser().absolute()
        self.pgdata = self.data_dir / "pgdata"
        self.log = LogFile(self.data_dir / "postgres.log")
        self.database = database
        self.port = free_port() if port == 0 else port
        self._fast = fast
        self._settings = {**SETTINGS, **(FAST_SETTINGS if fast else {}), **(settings or {})}
        self._timeout = timeout
        self._lock = DirectoryLock(self.data_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._alias = _short_alias(self.pgdata)
        self._linked = False
        self._password: str | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The postmaster's pid. Raises RuntimeError when it was not started."""
        if self._process is None:
            raise RuntimeError("PostgreSQL was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the postmaster is there (looked up now)."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """How the postmaster ended; None while it runs or before it started."""
        return self._process.poll() if self._process else None

    @property
    def socket_dir(self) -> Path:
        """The directory of the Unix socket, short enough for sun_path. Raises MeshError when it is not safe to use."""
        if self._alias is None:
            return self.pgdata
        _require_private(self._alias.parent)
        return self._alias

    def url(self, user: str = SUPERUSER, password: str | None = None, database: str | None = None) -> str:
        """A libpq URL over the socket; the superuser's by default. No password is needed."""
        return (
            f"postgresql://{_login(user, password)}@/{quote(database or self.database, safe='')}"
            f"?host={quote(str(self.socket_dir), safe='')}&port={self.port or SOCKET_PORT}"
        )

    def tcp_url(self, user: str = SUPERUSER, password: str | None = None, database: str | None = None) -> str:
        """A libpq URL over loopback. The superuser's password is filled in; roles without a password are refused.

        Raises RuntimeError unless the server was made with a port and has been started.
        """
        if self.port is None or self._password is None:
            raise RuntimeError("this PostgreSQL does not listen on TCP")
        if user == SUPERUSER and password is None:
            password = self._password
        return (
            f"postgresql://{_login(user, password)}@{LOOPBACK}:{self.port}/{quote(database or self.database, safe='')}"
        )

    def start(self) -> None:
        """Start the server and wait until it takes connections; on an empty directory make the database first.

        Comes up again after a crash, a kill -9, with a zombie or a reused pid in the pid file. Does nothing when it
        runs. Raises the errors of `services.mesh.errors`, and leaves no process behind when it does.
        """
        if self.running:
            return
        if sys.platform != "linux":
            raise UnsupportedPlatform(sys.platform)
        deadline = time.monotonic() + self._timeout
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            # After a crash the lock is still ours.
            if not self._lock.held:
                self._lock.acquire()
            self._start(deadline)
        except OSError as error:
            self.stop()
            raise DataDirUnusable(self.data_dir, f"{error.strerror or error} ({error.filename})") from error
        except psycopg.Error as error:
            self.stop()
            raise StartFailed("PostgreSQL", f"it took no connection: {error}", self.log.tail()) from error
        except BaseException:
            self.stop()
            raise

    def stop(self, *, smart: float = 1.0, fast: float = 20.0) -> None:
        """Stop the server: wait `smart` seconds for clients to leave, then end their sessions within `fast` seconds.

        What is still there then is ended at once (SIGQUIT, SIGKILL) and recovers at the next start. Idempotent.
        """
        process = self._process
        if process is not None:
            steps = (
                (signal.SIGTERM, smart),
                (signal.SIGINT, fast),
                (signal.SIGQUIT, 5.0),
                (signal.SIGKILL, None),
            )
            for number, patience in steps:
                if process.poll() is not None:
                    break
                process.send_signal(number)
                try:
                    process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
            self._process = None
        if self._alias and self._linked:
            self._alias.unlink(missing_ok=True)
            self._alias.parent.rmdir()
            self._linked = False
        self._lock.release()

    def _start(self, deadline: float) -> None:
        left_over = postmaster.wait_until_gone(self.pgdata, max(0.0, deadline - time.monotonic()))
        if left_over is not None:
            raise DataDirInUse(self.pgdata, left_over)
        user = system_user(self.pgdata)
        programs = usable_installation(find_installation(), user) / "bin"
        if not self.pgdata.exists():
            self._initialize(programs / "initdb", user, deadline)
        version = (self.pgdata / "PG_VERSION").read_text().strip()
        if version != str(MAJOR_VERSION):
            raise DataDirVersion(self.pgdata, version, MAJOR_VERSION)
        if self.port is not None:
            require_free(self.port, "PostgreSQL")
        self._write_access_rules(user)
        if self._alias:
            self._alias.parent.mkdir(mode=0o700, exist_ok=True)
            _require_private(self._alias.parent)
            self._linked = True
            self._alias.unlink(missing_ok=True)
            self._alias.symlink_to(self.pgdata)
        while not self._launch(programs / "postgres", user, deadline):
            time.sleep(postmaster.POLL_SECONDS)
        self._prepare_database()

    def _initialize(self, initdb: Path, user: SystemUser | None, deadline: float) -> None:
        """Make the data directory under another name first: one that was cut short never looks like a whole one."""
        with tempfile.TemporaryDirectory(dir=self.data_dir, prefix=".initdb-") as scratch:
            fresh = Path(scratch) / "pgdata"
            fresh.mkdir(mode=0o700)
            if user:
                os.chown(fresh, user.uid, user.gid)
            arguments = [
                str(initdb),
                *("-D", HERE, "-U", SUPERUSER, "--no-instructions", "--encoding=UTF8", "--locale=C"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--auth-local=peer", "--auth-host=scram-sha-256"),
                *(("--no-sync",) if self._fast else ()),
            ]
            process = spawn(
                arguments,
                death_signal=signal.SIGKILL,
                output=subprocess.PIPE,
                cwd=fresh,
                env=_environment(),
                user=user,
            )
            try:
                output, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
                reason = f"initdb ended with status {process.returncode}"
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
                reason = f"initdb took longer than {self._timeout:g} s"
            if process.returncode != 0:
                raise StartFailed("PostgreSQL", reason, output.decode(errors="replace"))
            fresh.rename(self.pgdata)

    def _write_access_rules(self, user: SystemUser | None) -> None:
        """Who may log in: our user as anyone over the socket, everyone with a password over loopback."""
        _replace_file(
            self.pgdata / "pg_hba.conf",
            "local all all peer map=plinth\n"
            "local replication all peer map=plinth\n"
            f"host all all {LOOPBACK}/32 scram-sha-256\n",
            user,
        )
        _replace_file(self.pgdata / "pg_ident.conf", f'plinth "{_our_name()}" all\n', user)

    def _launch(self, program: Path, user: SystemUser | None, deadline: float) -> bool:
        """Start the postmaster and wait for it. False: the last one's backends are not gone yet, try again."""
        postmaster.remove_stale_files(self.pgdata)
        settings = {
            **self._settings,
            "listen_addresses": LOOPBACK if self.port is not None else "",
            "port": str(self.port or SOCKET_PORT),
            "unix_socket_directories": HERE,
        }
        with self.log.open() as output:
            process = self._process = spawn(
                [str(program), "-D", HERE, *(part for item in settings.items() for part in ("-c", "=".join(item)))],
                death_signal=signal.SIGINT,
                output=output,
                cwd=self.pgdata,
                env=_environment(),
                user=user,
            )
        while not postmaster.is_ready(self.pgdata, process.pid):
            late = time.monotonic() > deadline
            if process.poll() is None and not late:
                time.sleep(postmaster.POLL_SECONDS)
                continue
            text = self.log.tail()
            if late:
                raise StartFailed("PostgreSQL", f"not ready within {self._timeout:g} s", text)
            if "pre-existing shared memory block" in text:
                return False
            if self.port is not None and "Address already in use" in text:
                raise PortTaken(self.port, "PostgreSQL")
            raise StartFailed("PostgreSQL", f"it ended with status {process.returncode}", text)
        return True

    def _prepare_database(self) -> None:
        """Make our database, and a password for the superuser when there is a port to use it on."""
        with psycopg.connect(self.url(database="postgres"), autocommit=True) as connection:
            known = connection.execute("select 1 from pg_database where datname = %s", (self.database,)).fetchone()
            if known is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(self.database)))
            if self.port is not None:
                self._password = self._stored_password()
                role, password = sql.Identifier(SUPERUSER), sql.Literal(self._password)
                connection.execute(sql.SQL("alter role {} password {}").format(role, password))

    def _stored_password(self) -> str:
        path = self.data_dir / "superuser.password"
        if not path.exists():
            _replace_file(path, secrets.token_urlsafe(32), None)
        return path.read_text()


def _our_name() -> str:
    """The name that the kernel's word for our user id becomes in `peer`; USER and LOGNAME may say anything."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise MeshError(
            f"User id {os.geteuid()} has no entry in /etc/passwd, which PostgreSQL demands. "
            "Add one, or set PLINTH_DATABASE_URL."
        ) from None


def _login(user: str, password: str | None) -> str:
    return quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")


def _environment() -> dict[str, str]:
    """What PostgreSQL gets to see: none of our settings and secrets, no PG* variable of the user's."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _short_alias(pgdata: Path) -> Path | None:
    """A short link to the data directory, for clients, when the socket's own path is too long for sun_path.

    Its name follows from the path, so that another process of ours finds it too.
    """
    longest = SUN_PATH_BYTES - len(f"/.s.PGSQL.{65535}")
    if len(os.fsencode(pgdata)) <= longest:
        return None
    digest = hashlib.sha256(os.fsencode(pgdata)).hexdigest()[:16]
    name = Path(f"plinth-{os.geteuid()}-{digest}") / "pg"
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 (see _require_private)
        if len(os.fsencode(parent / name)) <= longest:
            return parent / name
    raise MeshError(f"{pgdata} is too long for a Unix socket. Use a data directory with a shorter path.")


def _require_private(directory: Path) -> None:
    """Refuse a directory in a place open to all that somebody else made before us. Raises MeshError."""
    with suppress(FileNotFoundError):
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise MeshError(
                f"{directory} should be ours alone, and is not. Remove it, or use a shorter data directory."
            )


def _replace_file(path: Path, text: str, user: SystemUser | None) -> None:
    """Write a file of mode 0600 in one step.

    A directory that belongs to an unprivileged user may hold links put there for root to follow: so a new file, and a
    rename, which replaces a link instead of following it.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as output:
        output.write(text)
        if user:
            os.fchown(descriptor, user.uid, user.gid)
    fresh.rename(path)
