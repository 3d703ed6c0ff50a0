"""An event that a subscriber cannot handle is kept as a dead job, and handled when somebody requeues it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import grpc
import psycopg
import pytest

from plinth.events.v1 import job_pb2, job_service_pb2
from plinth.tenancy.v1 import events_pb2, workspace_pb2
from services.kernel.db import Session
from services.kernel.event_log import LogTail, PostgresEventLog
from services.kernel.events import Event
from services.kernel.jobs import Backoff, Worker
from services.kernel.names import WORKSPACE
from services.kernel.parking import Parking, parked_handlers
from services.kernel.sequencer import Sequencer
from services.kernel.subscriptions import Runner, Subscription
from services.kernel.unit_of_work import UnitOfWork, Units
from services.runtime import Runtime
from tests.support.errors import refused
from tests.support.people import People, Person
from tests.support.waiting import until

RENAMED = "plinth.tenancy.workspace.updated.v1"
SUBSCRIBER = "tenancy.fragile"

# One process at a time runs a subscriber.
pytestmark = pytest.mark.xdist_group("parking")


class Fragile:
    """A subscriber of one workspace that cannot handle anything while it is broken."""

    def __init__(self, units: Units[Session], owner: Person, workspace: workspace_pb2.Workspace) -> None:
        self._units = units
        self.owner = owner
        self.workspace = workspace.name
        self.broken = True
        self.handled: list[str] = []

    def handle(self, _: UnitOfWork[Any], event: Event) -> None:
        """What the subscription does."""
        if event.subject == self.workspace:
            if self.broken:
                raise ValueError("broken for now")
            self.handled.append(event.subject)

    def happen(self, *, restricted: bool = False) -> None:
        """Something that it subscribes to."""
        [workspace_id] = WORKSPACE.ids(self.workspace)
        with self._units(workspace_id) as uow:
            uow.emit(self.workspace, events_pb2.WorkspaceUpdated(workspace=self.workspace), restricted=restricted)
            uow.commit()

    def jobs(self) -> list[job_pb2.Job]:
        """What is parked, dead or under way again."""
        request = job_service_pb2.ListJobsRequest(parent=self.workspace)
        return [job for job in self.owner.stubs.jobs.ListJobs(request).jobs if job.kind == f"{SUBSCRIBER}.parked"]

    def dead(self) -> job_pb2.Job:
        """The parked event, once it is."""
        until(lambda: [job.state for job in self.jobs()] == [job_pb2.Job.STATE_DEAD], "the event is parked")
        [job] = self.jobs()
        return job

    def requeue(self, job: job_pb2.Job) -> None:
        """Have it handled again."""
        self.owner.stubs.jobs.RequeueJob(job_service_pb2.RequeueJobRequest(name=job.name))


@pytest.fixture
def fragile(
    runtime: Runtime, people: People, sequencer: Sequencer, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fragile]:
    """It runs, and so does what handles parked events again."""
    monkeypatch.setattr("services.kernel.subscriptions._BACKOFF", Backoff(most=timedelta()))
    owner = people.new("owner")
    units: Units[Session] = Units(runtime.resources, "tenancy", lambda session: session)
    subscriber = Fragile(units, owner, people.workspace_of(owner))
    with running(runtime, Subscription(SUBSCRIBER, frozenset({RENAMED}), subscriber.handle, units)):
        yield subscriber
    with psycopg.connect(owner_url) as connection:
        connection.execute("delete from kernel.cursors where subscriber = %s", [SUBSCRIBER])
        connection.execute("delete from jobs.jobs where kind = %s", [f"{SUBSCRIBER}.parked"])


@contextmanager
def running(runtime: Runtime, subscription: Subscription[Any]) -> Iterator[None]:
    """A worker of this one subscription."""
    database = runtime.database
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
        yield
    finally:
        worker.stop()
        runner.stop()
        tail.stop()
        source.close()


def test_it_is_seen_mended_and_requeued(fragile: Fragile) -> None:
    fragile.happen()
    job = fragile.dead()
    assert job.subject == fragile.workspace
    assert "broken for now" in job.last_error
    assert not fragile.handled
    fragile.broken = False
    fragile.requeue(job)
    until(lambda: fragile.handled, "the event is handled")
    until(lambda: not fragile.jobs(), "the job is done")
    assert fragile.handled == [fragile.workspace]


def test_of_a_restricted_one_owners_alone_know_and_nobody_reads_what_the_error_says(
    fragile: Fragile, people: People
) -> None:
    fragile.happen(restricted=True)
    job = fragile.dead()
    assert job.last_error == "ValueError"
    viewer = people.member(fragile.owner, fragile.workspace, "viewer")
    with refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        viewer.stubs.jobs.GetJob(job_service_pb2.GetJobRequest(name=job.name))
    fragile.requeue(job)
    until(lambda: [job.last_error for job in fragile.jobs()] == ["RetryableError: ValueError"], "another failure")
