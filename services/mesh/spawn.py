"""Start a child that ends when we do."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LAUNCHER = str(Path(__file__).with_name("launch.py"))


@dataclass(frozen=True, slots=True)
class SystemUser:
    """The user and group that a child runs as."""

    uid: int
    gid: int


def spawn(
    argv: Sequence[str],
    *,
    death_signal: signal.Signals,
    output: IO[bytes] | int,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    user: SystemUser | None = None,
) -> subprocess.Popen[bytes]:
    """Start `argv` as a direct child in a process group of its own; stdout and stderr go to `output`.

    The kernel sends `death_signal` to the child when the *thread* that started it ends, so that thread has to be the
    main one (RuntimeError otherwise). The process group keeps a Ctrl-C at the terminal from it: the owner stops its
    children itself, in order. argv[0] is a path. Whether the program could be run at all shows in its exit status,
    see `launch.py`. Linux only: prctl(2), PR_SET_PDEATHSIG.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("children are started by the main thread: their death signal fires when their thread ends")
    become = f"{user.uid}:{user.gid}" if user else "-"
    return subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCHER, str(death_signal.value), str(os.getpid()), become, *argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=env,
        process_group=0,
    )
