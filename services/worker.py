"""The worker process: the sequencer of the event log, the subscribers, the durable jobs and the schedules."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Protocol

import grpc
import structlog
from grpc_health.v1 import health_pb2

from services.allocation import give_back
from services.gauges import EventLogLag
from services.introspection import Introspection
from services.kernel.config import ConfigError, Settings
from services.kernel.event_log import LogTail, PostgresEventLog
from services.kernel.jobs import Attempt, CronJob, JobHandler, repository
from services.kernel.jobs.cron import Cron
from services.kernel.jobs.gate import SYSTEM
from services.kernel.jobs.gauges import QueueGauges
from services.kernel.jobs.worker import Worker
from services.kernel.parking import Parking, parked_handlers
from services.kernel.partitions import Partitions
from services.kernel.sequencer import Sequencer
from services.kernel.subscriptions import Runner
from services.runtime import Runtime, open_runtime
from services.scheduling import take_turns
from services.serve import bind, server_options, settle_memory, start_metrics
from services.wiring import ALL_DOMAINS, Mesh

_SWEEP_JOBS = CronJob("jobs.sweep", "*/10 * * * *", "kernel", "jobs.sweep")
_SWEPT_AT_ONCE = 10_000
_log = structlog.get_logger("plinth.worker")


class Part(Protocol):
    """A part of the work, on threads of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """Finish what is at hand, and end."""


def work(
    settings: Settings,
    *,
    address: str,
    queues: Sequence[str] = (),
    metrics_port: int | None = None,
    ready: Callable[[int], None] = lambda _: None,
) -> None:
    """Work until SIGTERM or SIGINT, then let running jobs finish within the drain time. Raises ConfigError.

    With `queues`, this worker takes jobs of those queues only. `address` answers health checks. Raises SystemExit(1)
    where a part of the work has died: whoever looks after the process starts another.
    """
    take_turns()
    give_back()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with (
        ended_by_a_dead_thread(stopping),
        open_runtime(settings, "worker", lets_in=False) as runtime,
        Mesh(runtime, ALL_DOMAINS) as mesh,
        ExitStack() as stack,
    ):
        mesh.check()
        introspection = Introspection([])
        server = grpc.server(ThreadPoolExecutor(1), options=server_options(settings))
        introspection.add_health(server)
        port = bind(server, address)
        server.start()
        stack.callback(lambda: server.stop(0).wait())
        stack.enter_context(working(runtime, mesh, queues))
        start_metrics(metrics_port, mesh)
        introspection.status.set("", health_pb2.HealthCheckResponse.SERVING)
        settle_memory()
        _log.info("working", address=address, port=port, queues=list(queues))
        ready(port)
        stopping.wait()
        _log.info("draining")
        introspection.status.enter_graceful_shutdown()


@contextmanager
def ended_by_a_dead_thread(stopping: threading.Event) -> Iterator[None]:
    """Set `stopping` when an error ends any thread, for no other thread does its work. Raises SystemExit(1) then."""
    died = threading.Event()

    def end(how: threading.ExceptHookArgs) -> None:
        _log.critical("thread.died", thread=how.thread.name if how.thread is not None else "", error=how.exc_value)
        died.set()
        stopping.set()

    before, threading.excepthook = threading.excepthook, end
    try:
        yield
    finally:
        threading.excepthook = before
    if died.is_set():
        sys.exit(1)


def sweeper(runtime: Runtime) -> JobHandler:
    """Deletes jobs that ended and are kept no longer."""

    def run(attempt: Attempt) -> None:
        swept = _SWEPT_AT_ONCE
        while swept == _SWEPT_AT_ONCE:
            attempt.check()
            with runtime.database.transaction(SYSTEM) as session:
                swept = repository.sweep(session, runtime.clock.now(), _SWEPT_AT_ONCE)
                session.commit()

    return JobHandler(_SWEEP_JOBS.kind, _SWEEP_JOBS.queue, run)


@contextmanager
def working(runtime: Runtime, mesh: Mesh, queues: Sequence[str] = ()) -> Iterator[None]:
    """All of a worker's work, as long as it is entered; what runs is finished before it is left. Raises ConfigError."""
    settings, database, clock = runtime.settings, runtime.database, runtime.clock
    source = PostgresEventLog(database, database.connect)
    handlers = [*mesh.job_handlers, *parked_handlers(mesh.subscriptions, source), sweeper(runtime)]
    known = {handler.queue for handler in handlers}
    if unknown := set(queues) - known:
        raise ConfigError(f"--queues: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    tail = LogTail(source)
    partitions = Partitions(
        database.connect,
        clock,
        retention=timedelta(days=settings.event_retention_days),
        ahead=timedelta(days=settings.event_days_ahead),
    )
    jobs = Worker(
        database,
        handlers,
        clock=clock,
        queues=queues or None,
        threads=settings.worker_threads,
        drain=timedelta(seconds=settings.drain_seconds),
        writer=runtime.writer,
        provider=runtime.provider,
    )
    mesh.collectors += [EventLogLag(source, runtime.kernel_session, clock), QueueGauges(database, clock), jobs.report]
    runner = Runner(
        mesh.subscriptions,
        source=source,
        tail=tail,
        database=database,
        connect=lambda: database.connect("subscriptions"),
        clock=clock,
        park=Parking(clock).park,
    )
    parts: list[Part] = [
        partitions,
        Sequencer(lambda: database.connect("sequencer"), clock, ensure=partitions.ensure),
        tail,
        runner,
        jobs,
        Cron(database, [_SWEEP_JOBS], clock),
    ]
    with ExitStack() as stack:
        stack.callback(source.close)
        for part in parts:
            part.start()
            stack.callback(part.stop)
        yield
