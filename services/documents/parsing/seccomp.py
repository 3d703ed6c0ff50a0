"""A seccomp filter that leaves a process its memory, its clock and the files it has open (seccomp(2), bpf(4))."""

import ctypes
import errno
import platform
import struct
from dataclasses import dataclass

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_MODE_FILTER = 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
# Offsets in struct seccomp_data.
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET = 0, 4


@dataclass(frozen=True, slots=True)
class _Architecture:
    audit: int
    allowed: dict[str, int]


# All else is refused with EPERM, which Python turns into PermissionError: a system call that a newer libc prefers
# costs a failed parse and not the process, and one that a newer kernel has is refused unseen.
_ARCHITECTURES = {
    "x86_64": _Architecture(
        0xC000003E,
        {
            # files that are open
            "read": 0,
            "write": 1,
            "close": 3,
            "fstat": 5,
            "poll": 7,
            "lseek": 8,
            "pread64": 17,
            "readv": 19,
            "writev": 20,
            "dup": 32,
            "newfstatat": 262,
            "ppoll": 271,
            "statx": 332,
            # memory
            "mmap": 9,
            "mprotect": 10,
            "munmap": 11,
            "brk": 12,
            "mremap": 25,
            "madvise": 28,
            # itself
            "rt_sigaction": 13,
            "rt_sigprocmask": 14,
            "rt_sigreturn": 15,
            "sched_yield": 24,
            "getpid": 39,
            "exit": 60,
            "uname": 63,
            "getrusage": 98,
            "sysinfo": 99,
            "getuid": 102,
            "sigaltstack": 131,
            "gettid": 186,
            "futex": 202,
            "sched_getaffinity": 204,
            "restart_syscall": 219,
            "exit_group": 231,
            "set_robust_list": 273,
            "getrandom": 318,
            "membarrier": 324,
            "rseq": 334,
            # time
            "nanosleep": 35,
            "gettimeofday": 96,
            "times": 100,
            "time": 201,
            "clock_gettime": 228,
            "clock_getres": 229,
            "clock_nanosleep": 230,
        },
    ),
    "aarch64": _Architecture(
        0xC00000B7,
        {
            "dup": 23,
            "close": 57,
            "lseek": 62,
            "read": 63,
            "write": 64,
            "readv": 65,
            "writev": 66,
            "pread64": 67,
            "ppoll": 73,
            "newfstatat": 79,
            "fstat": 80,
            "statx": 291,
            "brk": 214,
            "munmap": 215,
            "mremap": 216,
            "mmap": 222,
            "mprotect": 226,
            "madvise": 233,
            "exit": 93,
            "exit_group": 94,
            "futex": 98,
            "set_robust_list": 99,
            "sched_getaffinity": 123,
            "sched_yield": 124,
            "restart_syscall": 128,
            "sigaltstack": 132,
            "rt_sigaction": 134,
            "rt_sigprocmask": 135,
            "rt_sigreturn": 139,
            "uname": 160,
            "getrusage": 165,
            "getpid": 172,
            "getuid": 174,
            "gettid": 178,
            "sysinfo": 179,
            "getrandom": 278,
            "membarrier": 283,
            "rseq": 293,
            "nanosleep": 101,
            "clock_gettime": 113,
            "clock_getres": 114,
            "clock_nanosleep": 115,
            "times": 153,
            "gettimeofday": 169,
        },
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class SeccompRefused(OSError):
    """The kernel, or the architecture, has no seccomp for us."""


def confine() -> None:
    """Hold this process, and all that it starts, to the allowed calls; there is no way back. Raises SeccompRefused."""
    architecture = _ARCHITECTURES.get(platform.machine())
    if platform.system() != "Linux" or architecture is None:
        raise SeccompRefused(f"no filter is known for {platform.system()} on {platform.machine()}")
    program = _program(architecture)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        # Without privileges a filter needs the promise that no privileges are gained later.
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(len(program) // 8, program)), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise SeccompRefused(ctypes.get_errno(), "the kernel refuses a seccomp filter")


def _program(architecture: _Architecture) -> bytes:
    """The filter: struct sock_filter (code, jump if true, jump if false, value), one after the other."""
    numbers = sorted(architecture.allowed.values())
    # Jumps count the instructions they skip.
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        (_JUMP_IF_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        *((_JUMP_IF_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
