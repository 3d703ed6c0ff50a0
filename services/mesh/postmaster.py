"""Whether a PostgreSQL runs on a data directory, told by /proc and not by the number in its pid file alone."""

import os
import time
from pathlib import Path

POLL_SECONDS = 0.01
PID_FILE = "postmaster.pid"
READY_LINE = 7  # of the pid file, counted from 0; see miscadmin.h, LOCK_FILE_LINE_PM_STATUS
DEAD_STATES = frozenset("ZXx")


def process_state(pid: int) -> str | None:
    """The state letter of proc(5) (`R`, `S`, `Z` …), or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name before it may hold spaces and brackets itself.
    return text.rpartition(")")[2].split()[0]


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie (which stays where nobody reaps orphans)."""
    state = process_state(pid)
    return state is not None and state not in DEAD_STATES


def living_postmaster(pgdata: Path) -> int | None:
    """The pid of the server that runs on exactly this directory, or None.

    The pid file's number is believed only of a living process whose executable is `postgres` and whose working
    directory is `pgdata`; a pid that the system has given to somebody else is not that.
    """
    pid = _recorded_pid(pgdata)
    if pid is None or not is_alive(pid):
        return None
    try:
        program = Path(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"))
        same_directory = os.path.samestat(os.stat(f"/proc/{pid}/cwd"), pgdata.stat())
    except OSError:
        # Gone meanwhile, or a process of another user: the server of this directory runs as its owner, and we either
        # are that owner or root.
        return None
    return pid if program.name == "postgres" and same_directory else None


def wait_until_gone(pgdata: Path, timeout: float) -> int | None:
    """Wait up to `timeout` seconds for a server that is on its way out; the pid of one that stays, or None."""
    deadline = time.monotonic() + timeout
    while (pid := living_postmaster(pgdata)) is not None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return pid


def remove_stale_files(pgdata: Path) -> None:
    """Remove the pid file and socket locks of a dead server. Only when `living_postmaster` is None, under the lock.

    PostgreSQL refuses to start while the number in one of them belongs to any process, a zombie too.
    """
    (pgdata / PID_FILE).unlink(missing_ok=True)
    for path in pgdata.glob(".s.PGSQL.*"):
        path.unlink(missing_ok=True)


def is_ready(pgdata: Path, pid: int) -> bool:
    """Whether the server `pid` has written that it accepts connections (what `pg_ctl -w` looks at)."""
    try:
        lines = (pgdata / PID_FILE).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > READY_LINE and lines[0].strip() == str(pid) and lines[READY_LINE].strip() == "ready"


def _recorded_pid(pgdata: Path) -> int | None:
    try:
        first = (pgdata / PID_FILE).read_text(errors="replace").partition("\n")[0].strip()
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() and int(first) > 0 else None
