"""Memory that is given back."""

import subprocess
import sys

# How many arenas a process has whose sixteen threads all allocated.
_PROGRAM = """
import ctypes, threading
{first}
all_here = threading.Barrier(16)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]

def work():
    all_here.wait()
    for _ in range(50):
        libc.malloc(5_000)
    all_here.wait()

threads = [threading.Thread(target=work) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def arenas(first: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(first=first)], capture_output=True, text=True, check=True
    )
    return ran.stdout.count("<heap nr=")


def test_threads_share_two_arenas() -> None:
    assert arenas("") > 2
    assert arenas("from services.allocation import give_back; give_back()") <= 2
