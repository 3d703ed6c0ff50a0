"""How the threads of a Python process take turns on a processor."""

import os
import sys
from contextlib import suppress


def take_turns() -> None:
    """Let a thread that wakes wait for its turn, instead of pushing aside the one that runs (sched(7), SCHED_BATCH).

    It would only find the interpreter's lock taken and go to sleep again: calls then cost two or three times as many
    changes of thread, and a quarter more processor time. Threads inherit it, so this comes before the first of them.
    Does nothing on other systems than Linux.
    """
    if sys.platform == "linux":
        # A sandbox may forbid it; then things are as they were.
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
