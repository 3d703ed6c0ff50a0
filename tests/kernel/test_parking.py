"""An event that a subscriber cannot handle is kept as a dead job, and handled when somebody requeues it."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plinth.events.v1 import job_service_pb2
from plinth.tenancy.v1 import workspace_pb2, workspace_service_pb2
from services.kernel.db import Session
from services.kernel.event_log import LogTail, PostgresEventLog
from services.kernel.events import Event
from services.kernel.jobs import Backoff, Worker
from services.kernel.parking import Parking, parked_handlers
from services.kernel.sequencer import Sequencer
from services.kernel.subscriptions import Runner, Subscription
from services.kernel.unit_of_work import UnitOfWork, Units
from services.runtime import Runtime
from tests.support.people import People
from tests.support.waiting import until

RENAMED = "plinth.tenancy.workspace.updated.v1"


def _session(session: Session) -> Session:
    return session


def test_it_is_seen_mended_and_requeued(
    runtime: Runtime, people: People, sequencer: Sequencer, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.kernel.subscriptions._BACKOFF", Backoff(most=timedelta()))
    owner = people.new("owner")
    workspace = people.workspace_of(owner)
    database, broken, handled = runtime.database, [True], list[Event]()

    def handle(_: UnitOfWork[Any], event: Event) -> None:
        if event.subject == workspace.name:
            if broken:
                raise ValueError("broken for now")
            handled.append(event)

    units = Units(runtime.resources, "tenancy", _session)
    subscription = Subscription("tenancy.fragile", frozenset({RENAMED}), handle, units)
    source = PostgresEventLog(database, database.connect)
    tail = LogTail(source)
    runner = Runner(
        [subscription],
        source=source,
        tail=tail,
        database=database,
        connect=database.connect,
        clock=runtime.clock,
        park=Parking(runtime.clock).park,
    )
    worker = Worker(database, parked_handlers([subscription], source), clock=runtime.clock, threads=1)
    tail.start()
    runner.start()
    worker.start()
    try:
        wanted = workspace_pb2.Workspace(name=workspace.name, display_name="Renamed", etag=workspace.etag)
        owner.stubs.workspaces.UpdateWorkspace(workspace_service_pb2.UpdateWorkspaceRequest(workspace=wanted))

        def dead() -> list[Any]:
            request = job_service_pb2.ListDeadJobsRequest(parent=workspace.name)
            return list(owner.stubs.jobs.ListDeadJobs(request).jobs)

        until(dead, "the event is parked")
        [job] = dead()
        assert job.subject == workspace.name
        assert "broken for now" in job.last_error
        assert not handled
        broken.clear()
        owner.stubs.jobs.RequeueJob(job_service_pb2.RequeueJobRequest(name=job.name))
        until(lambda: handled, "the event is handled")
        until(lambda: not dead(), "the job is done")
    finally:
        worker.stop()
        runner.stop()
        tail.stop()
        source.close()
        with psycopg.connect(owner_url) as connection:
            connection.execute("delete from kernel.cursors where subscriber = 'tenancy.fragile'")
    assert [event.subject for event in handled] == [workspace.name]
