"""What a domain is to the composition roots: how it is put together, served, worked for and swept."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import grpc
from prometheus_client.registry import Collector

from services.kernel.jobs import JobHandler
from services.kernel.log_stream import LogStreams
from services.kernel.subscriptions import Subscription
from services.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a domain is put together with: the process's parts, and ways to the other domains.

    `permissions` and `subscriptions` are those of the whole mesh; the latter are known once it is put together.
    """

    runtime: Runtime
    channel: Callable[[str], grpc.Channel]
    permissions: frozenset[str]
    subscriptions: Callable[[], Sequence[Subscription[Any]]]


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does for a domain: about events, and jobs of its kinds; and what a process tells Prometheus."""

    subscriptions: Sequence[Subscription[Any]] = ()
    job_handlers: Sequence[JobHandler] = ()
    collectors: Sequence[Collector] = ()


class Domain(Protocol):
    """One domain in one process. Servers are Any: a grpc.Server, a grpc.aio.Server, or the mesh inside the process."""

    package: ClassVar[str]
    services: ClassVar[tuple[str, ...]]

    def __init__(self, around: Surroundings) -> None: ...

    def check(self) -> None:
        """Try what every call will need. Raises DecryptionError, or what the database says."""

    def register(self, server: Any) -> None:
        """Add its unary methods."""

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Add its `Watch…` methods: those of the feed end when `stopping` is set, those of the log with the log."""

    def work(self) -> Work:
        """What a worker does for it."""

    def sweep(self) -> None:
        """Delete what is no longer kept, and bring what is encrypted under the current master key."""
