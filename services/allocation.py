"""How a Python process gives memory back that it needs no more."""

import ctypes
import sys

# Of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_ARENAS, _BYTES = 2, 128 * 1024


def give_back() -> None:
    """Have glibc return what was freed, instead of keeping it for each thread's next peak.

    By default a process has eight arenas a core, and each keeps its fragments: of a worker of many threads half of the
    heap may be unused. A block that was freed also raises the size from which the next ones are given back at once; a
    fixed one does not rise. Arenas are made as threads come, so this comes before them. Does nothing where the C
    library is another one.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_ARENA_MAX, _ARENAS), (_MMAP_THRESHOLD, _BYTES), (_TRIM_THRESHOLD, _BYTES)):
            mallopt(parameter, value)
