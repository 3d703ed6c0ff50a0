"""What a child gives up before it reads a document: more than its limits, every file it does not need, all the rest."""

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
from pathlib import Path

from services.documents.parsing.limits import Limits
from services.documents.parsing.seccomp import SeccompRefused, confine

_PR_SET_PDEATHSIG = 1
_OPEN_FILES = 16
# What Python tells of on its way, and what parsers do with memory of their own.
_FREE_EVENTS = (
    *("builtins.id", "code.", "compile", "cpython.", "exec", "gc.", "import", "marshal.", "object.", "sys."),
    *("array.", "ctypes.addressof", "ctypes.call_function", "ctypes.cdata", "ctypes.create_string_buffer"),
    *("ctypes.get_errno", "ctypes.string_at", "time.sleep"),
)


def enter(limits: Limits, *, keep: tuple[int, ...], parent: int) -> None:
    """Keep the files `keep`, and nothing else of the world; end when the process `parent` ends."""
    die_with(parent)
    _close_all_but(keep)
    _limit(limits)
    try:
        confine()
    except SeccompRefused:
        refuse_by_audit()


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, where it can (prctl(2))."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def refuse_by_audit() -> None:
    """Refuse to Python code what seccomp refuses to all code; for good.

    Events that tell of something outside are refused unless they are known to be harmless (PEP 578).
    """

    def judge(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], int):
            return
        if not event.startswith(_FREE_EVENTS):
            raise PermissionError(f"a parser may not {event}")

    sys.addaudithook(judge)


def _close_all_but(keep: tuple[int, ...]) -> None:
    """Nothing is read from or written to the standard streams, which point nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    below = 3
    for descriptor in (*sorted(keep), os.sysconf("SC_OPEN_MAX")):
        os.closerange(below, descriptor)
        below = descriptor + 1


def _limit(limits: Limits) -> None:
    seconds = math.ceil(limits.seconds)
    bounds = (
        (resource.RLIMIT_AS, _address_space() + limits.memory_bytes),
        # SIGXCPU ends it, and tells why.
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    )
    for what, bound in bounds:
        _, hard = resource.getrlimit(what)
        soft = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(what, (soft, soft + 1 if what == resource.RLIMIT_CPU and soft != hard else soft))


def _address_space() -> int:
    """How many bytes this process has mapped before it begins."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0
