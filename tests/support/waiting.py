"""Waiting for a condition, bounded."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from services.mesh.postmaster import is_alive

NEVER = threading.Event()
# How long a test waits for what comes. No promise is judged by it: it bounds a hang, however slow the machine.
PATIENCE_SECONDS = 60.0
# What a machine that is busy with something else may add to what we promise. A defect adds more: what nobody takes back
# stays for minutes.
SLOWNESS_SECONDS = 9.0


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as the condition holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        NEVER.wait(0.01)


def until_gone(pids: list[int], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until none of the processes lives. A zombie has ended: who should reap it is not ours to say."""
    until(lambda: not any(map(is_alive, pids)), f"the end of {pids}", seconds)


def descendants(pid: int) -> list[int]:
    """The pids of a process's children, their children and so on, as they are now.

    A thread that has ended since it was found has no children any more.
    """
    found = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, listing.read_text().split()):
                found += [child, *descendants(child)]
    return found


def connects(address: str) -> bool:
    """Whether somebody listens at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
