"""To act for a caller without a call, and on many threads at once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from services.kernel.caller import Caller, reset_caller, set_caller
from services.kernel.deadline import reset_deadline, set_deadline

T = TypeVar("T")


@contextmanager
def acting(caller: Caller) -> Iterator[Caller]:
    """What runs inside runs for this caller."""
    token = set_caller(caller)
    try:
        yield caller
    finally:
        reset_caller(token)


@contextmanager
def deadline(at: float | None) -> Iterator[None]:
    """What runs inside must end by then (monotonic seconds)."""
    token = set_deadline(at)
    try:
        yield
    finally:
        reset_deadline(token)


def at_once(count: int, work: Callable[[], T]) -> list[T]:
    """What `count` threads answer that begin `work` together. Raises what the first of them raises."""
    ready = threading.Barrier(count)

    def run() -> T:
        ready.wait(10)
        return work()

    with ThreadPoolExecutor(count) as pool:
        return [future.result(60) for future in [pool.submit(run) for _ in range(count)]]
