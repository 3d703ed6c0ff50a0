"""The processes that a supervisor looks after: how they start, come again, and end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.mesh.errors import StartFailed
from services.mesh.logs import LogFile
from services.mesh.spawn import spawn

FIRST_DELAY = 0.2
LONGEST_DELAY = 5.0
# Who lived this long and dies has a new trouble, not the old one.
STEADY_SECONDS = 30.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how to know that it is ready.

    `argv[0]` is a path. `ready` answers at once, or within a second; it is called by the thread that supervises.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None


class Backoff:
    """How long to wait before the next start: FIRST_DELAY, doubled each time up to LONGEST_DELAY, in seconds."""

    def __init__(self) -> None:
        self._failures = 0

    def next(self, lived: float) -> float:
        """The delay after a process that lived `lived` seconds."""
        if lived >= STEADY_SECONDS:
            self._failures = 0
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        return delay


class Child:
    """One process under supervision. Used by the main thread only, see `spawn`.

    When we die the kernel kills it at once (SIGKILL): a polite signal would leave behind one that hangs in its drain.
    What it had acknowledged is committed.
    """

    def __init__(self, program: Program, log: LogFile) -> None:
        self.program = program
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._retry_at: float | None = None
        self._coming_back = False
        self._backoff = Backoff()

    @property
    def name(self) -> str:
        """What the console calls it."""
        return self.program.name

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def started(self) -> bool:
        """Whether it was started, and not stopped since; it may have died."""
        return self._process is not None

    @property
    def age(self) -> float:
        """Seconds since it was last started."""
        return time.monotonic() - self._started

    def start(self) -> None:
        """Start it; does not wait. Raises OSError when it cannot be started."""
        with self.log.open() as output:
            self._process = spawn(
                self.program.argv,
                death_signal=signal.SIGKILL,
                output=output,
                cwd=self.program.cwd,
                env=self.program.env,
            )
        self._started = time.monotonic()

    def ready(self) -> bool:
        """Whether it serves. Raises StartFailed, with the end of its log, when it has ended instead."""
        if self._process is None:
            return False
        status = self._process.poll()
        if status is not None:
            raise StartFailed(self.name, f"it {describe_exit(status)}", self.log.tail())
        return self.program.ready()

    def look_after(self) -> str | None:
        """Start it again when it is gone and its delay has passed; what there is to tell about that, if anything."""
        now = time.monotonic()
        if self._retry_at is not None:
            if now < self._retry_at:
                return None
            self._retry_at = None
            self._coming_back = True
            self.start()
            return None
        if self._process is None:
            return None
        status = self._process.poll()
        if status is not None:
            delay = self._backoff.next(self.age)
            self._retry_at = now + delay
            return f"{describe_exit(status)}, starts again in {delay:.1f} s; its log: {self.log.path}"
        if self._coming_back and self.program.ready():
            self._coming_back = False
            return f"is back (pid {self._process.pid})"
        return None

    def stop(self, grace: float, hurry: Callable[[], bool] = lambda: False) -> str:
        """End it: SIGTERM, `grace` seconds (none once `hurry` says so), SIGKILL. Idempotent. Says how it went."""
        process, self._process, self._retry_at = self._process, None, None
        if process is None or process.poll() is not None:
            return "was gone already"
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        while process.poll() is None and time.monotonic() - begin < grace and not hurry():
            time.sleep(POLL_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()
            return f"killed after {time.monotonic() - begin:.1f} s"
        return f"stopped in {time.monotonic() - begin:.1f} s"


def describe_exit(status: int) -> str:
    """An exit status of subprocess in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def wait_until_ready(children: Sequence[Child], deadline: float, on_ready: Callable[[Child, float], None]) -> None:
    """Wait for all of them at once; `on_ready` gets each as it comes, with the seconds it took.

    `deadline` is a time.monotonic(). Raises StartFailed for the first that ends, or is not ready by then.
    """
    waiting = list(children)
    while waiting:
        for child in list(waiting):
            if child.ready():
                waiting.remove(child)
                on_ready(child, child.age)
            elif time.monotonic() > deadline:
                raise StartFailed(child.name, "it is not ready in time", child.log.tail())
        if waiting:
            time.sleep(POLL_SECONDS)


def own_environment(**more: str) -> dict[str, str]:
    """Our environment for a Python child, so that it imports the same code as we do, and writes its log unbuffered."""
    root = Path(__file__).resolve().parents[2]
    paths = [str(root), str(root / "gen"), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **more}
