"""Stage `admission`: a call that waited too long for a thread, or that nobody waits for any more, is not begun.

The pool stamps each call when it arrives, so the stage sees the queue that a semaphore inside a handler never would:
threads bound how many are at work, and age bounds how long one may have waited. Transfers keep a thread for as long as
their clients like, so that they may have some of the threads only.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from interceptors.call import Call
from interceptors.stages import Stage
from services.kernel.errors import CallDeadlineExceeded, Overloaded, ShuttingDown

_arrival = threading.local()


class StampingPool(ThreadPoolExecutor):
    """A thread pool that remembers when each piece of work arrived."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As the base class does, for any function."""
        return super().submit(_stamped, time.monotonic(), fn, *args, **kwargs)


def _stamped(arrived: float, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    _arrival.time = arrived
    try:
        return fn(*args, **kwargs)
    finally:
        del _arrival.time


class Admission(Stage):
    """Refuses what comes too late, before it costs anything."""

    def __init__(self, max_queue_seconds: float, max_transfers: int) -> None:
        self._max_queue_seconds = max_queue_seconds
        self._draining = threading.Event()
        self._transfers = threading.Semaphore(max_transfers)

    def drain(self) -> None:
        """Admit no more."""
        self._draining.set()

    def enter(self, call: Call) -> None:
        """Raises CallDeadlineExceeded, Overloaded or ShuttingDown."""
        if call.deadline is not None and call.deadline <= time.monotonic():
            raise CallDeadlineExceeded
        # A call from inside the process came with a call that was admitted already.
        if call.local_caller:
            return
        if self._draining.is_set():
            raise ShuttingDown
        waited = time.monotonic() - getattr(_arrival, "time", time.monotonic())
        if waited > self._max_queue_seconds:
            raise Overloaded
        if call.policy.transfers:
            if not self._transfers.acquire(blocking=False):
                raise Overloaded
            call.extras["transfer"] = self._transfers

    def leave(self, call: Call) -> None:
        """Make room for another transfer."""
        if "transfer" in call.extras:
            call.extras.pop("transfer").release()
