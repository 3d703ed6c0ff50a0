"""What a worker does for projects, as its tests need it: subscriptions that run, and attempts at jobs."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.kernel.caller import Caller
from services.kernel.event_log import LogTail, PostgresEventLog
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.jobs import Attempt, JobHandler
from services.kernel.jobs.attempt import Hold
from services.kernel.subscriptions import Runner, Subscription
from services.kernel.unit_of_work import UnitOfWork
from services.runtime import Runtime
from tests.support.acting import acting


@contextmanager
def working(runtime: Runtime, subscriptions: Sequence[Subscription[Any]]) -> Iterator[Runner]:
    """These subscriptions run meanwhile."""
    connect = runtime.database.connect
    source = PostgresEventLog(runtime.database, connect)
    tail = LogTail(source)
    runner = Runner(
        subscriptions,
        source=source,
        tail=tail,
        database=runtime.database,
        connect=connect,
        clock=runtime.clock,
        park=_refuse,
    )
    tail.start()
    runner.start()
    try:
        yield runner
    finally:
        runner.stop()
        tail.stop()
        source.close()


def _refuse(uow: UnitOfWork[Any], subscription: Subscription[Any], event: Event, error: str) -> None:
    raise AssertionError(f"{subscription.name} cannot handle {event.type}: {error}")


def attempt(handler: JobHandler, workspace_id: UUID, subject: str) -> None:
    """Attempt a job about something in a workspace, as a worker does."""
    now, moment = time.monotonic(), datetime.now(UTC)
    with acting(Caller(service="projects", workspace_id=workspace_id)):
        handler.run(
            Attempt(
                job_id=new_id(),
                kind=handler.kind,
                queue=handler.queue,
                workspace_id=workspace_id,
                subject=subject,
                payload=b"",
                number=1,
                max_attempts=20,
                fence=1,
                run_time=moment,
                create_time=moment,
                actor="",
                traceparent="",
                unique_key=None,
                hold=Hold(now + 60, now + 60, threading.Condition()),
            )
        )
