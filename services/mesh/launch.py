"""Turn into a program that cannot outlive its parent. Run as a script by `spawn.py`, never imported.

Arguments: death signal number, parent's pid, `uid:gid` to become (or `-`), program, its arguments.

A script of its own and not a `preexec_fn`: between fork and exec of a process with threads no Python code is safe. It
runs with `-I -S`, so it costs about 20 ms and needs nothing but the standard library. Exit status 126 says that it
could not prepare the process, 127 that the program could not be run; the reason is on stderr.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Prepare this process, then become the program."""
    death_signal, parent, user, program, *arguments = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if user != "-":
            uid, gid = (int(part) for part in user.split(":"))
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        # After setuid: a change of credentials clears the death signal.
        if libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    except OSError as error:
        sys.stderr.write(f"cannot prepare {program}: {error}\n")
        os._exit(126)
    # A parent that died before prctl sends no signal.
    if os.getppid() != int(parent):
        os._exit(126)
    # Python ignores these two, and exec would pass that on.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execv(program, [program, *arguments])  # noqa: S606 (no shell is the point)
    except OSError as error:
        sys.stderr.write(f"cannot run {program}: {error}\n")
        os._exit(127)


main()
