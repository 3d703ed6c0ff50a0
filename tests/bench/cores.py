"""Which core the server under test has to itself, and which one all the rest shares."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """`server`: the servers under test. `load`: h2load, PostgreSQL, Envoy and ourselves. `all`: what we may use."""

    server: int
    load: int
    all: frozenset[int]

    @property
    def apart(self) -> bool:
        """Whether load and server do not get in each other's way."""
        return self.server != self.load


def choose_cores() -> Cores:
    """The last core for the server, the first for all the rest; on a machine of one core they share it."""
    available = frozenset(os.sched_getaffinity(0))
    return Cores(server=max(available), load=min(available), all=available)


@contextmanager
def running_on(*cores: int) -> Iterator[None]:
    """What this thread starts meanwhile, processes and threads, runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
