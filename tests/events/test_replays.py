"""Events of the past, delivered once more: to an endpoint or to a subscriber."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from plinth.events.v1 import delivery_pb2, job_pb2
from plinth.events.v1 import event_service_pb2 as events
from plinth.events.v1 import job_service_pb2 as jobs
from plinth.events.v1 import webhook_service_pb2 as webhooks
from services.events.repository import EventsRepositories
from services.events.service import EventsServices, replays
from services.kernel import cursors, subscriptions
from services.kernel.db import Scope
from services.kernel.events import Event
from services.kernel.jobs.model import Backoff
from services.kernel.jobs.worker import Worker
from services.kernel.subscriptions import Subscription
from services.kernel.unit_of_work import UnitOfWork, Units
from services.kernel.wire import timestamp
from services.runtime import Runtime
from tests.events.office import RENAMED, Office
from tests.support.errors import refused
from tests.support.waiting import until

CODE = grpc.StatusCode
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
SUBSCRIBER = "events.listener"


class Listener:
    """A subscriber that keeps what it hears; it fails once at the event `fail_at`, and always at `poison`."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.fail_at = ""
        self.poison = ""

    def handle(self, uow: UnitOfWork[EventsRepositories], event: Event) -> None:
        name = str(event.message().display_name)  # type: ignore[attr-defined]  # a WorkspaceUpdated
        if name == self.fail_at:
            self.fail_at = ""
            raise RuntimeError("for once")
        if name == self.poison:
            raise ValueError("for ever\nwith somebody's data")
        self.heard.append(name)


# A worker claims whatever its queue holds, and knows its own subscribers alone.
pytestmark = pytest.mark.xdist_group("replays")


@pytest.fixture
def listener(subscriptions: list[Subscription[Any]], runtime: Runtime) -> Listener:
    """A subscriber that workers know, and have run before."""
    listening = Listener()
    units = Units(runtime.resources, "events", EventsRepositories)
    subscriptions.append(Subscription(SUBSCRIBER, frozenset({RENAMED}), listening.handle, units))
    with runtime.database.transaction(Scope("plinth_kernel")) as session:
        cursors.begin(session, SUBSCRIBER, 0, runtime.clock.now())
        session.commit()
    return listening


@pytest.fixture
def worker(services: EventsServices, runtime: Runtime) -> Iterator[Worker]:
    """Does replays, and nothing else."""
    running = Worker(runtime.database, [services.replays.handler()], clock=runtime.clock, threads=2)
    running.start()
    yield running
    running.stop()


def replay(office: Office, target: str, since: datetime = LONG_AGO, **fields: object) -> str:
    request = events.ReplayEventsRequest(
        parent=office.workspace,
        target=target,
        since=timestamp(since),
        **fields,  # type: ignore[arg-type]  # of the request
    )
    return office.owner.stubs.events.ReplayEvents(request).job


def recover(office: Office, endpoint: str, since: datetime = LONG_AGO) -> str:
    request = webhooks.RecoverEndpointRequest(name=endpoint, since=timestamp(since))
    return office.owner.stubs.webhooks.RecoverEndpoint(request).job


def ended(office: Office, job: str) -> job_pb2.Job:
    """The job, once it is neither queued nor running."""

    def now() -> job_pb2.Job:
        return office.owner.stubs.jobs.GetJob(jobs.GetJobRequest(name=job)).job

    until(lambda: now().state not in (job_pb2.Job.STATE_QUEUED, job_pb2.Job.STATE_RUNNING), "the end of a replay")
    return now()


def deliveries(office: Office, endpoint: str) -> list[delivery_pb2.Delivery]:
    request = webhooks.ListDeliveriesRequest(parent=endpoint, page_size=500)
    return list(office.owner.stubs.webhooks.ListDeliveries(request).deliveries)


def settle(office: Office, endpoint: str, state: str, *event_ids: str) -> None:
    """Let deliveries have ended, as only a worker does it."""
    office.database.execute(
        "update events.webhook_deliveries set state = %s, end_time = now(), next_attempt_time = null"
        " where endpoint_id = %s and event_id = any(%s::uuid[])",
        [state, endpoint.rpartition("/")[2], list(event_ids)],
    )


def id_of(name: str) -> str:
    return name.rpartition("/")[2]


class TestToAnEndpoint:
    def test_delivers_what_its_filter_lets_through(self, office: Office, worker: Worker) -> None:
        made = office.renamed("One", "Two")
        endpoint = office.endpoint(types=["plinth.tenancy.workspace.updated.*"]).name
        job = ended(office, replay(office, endpoint))
        assert job.state == job_pb2.Job.STATE_SUCCEEDED
        assert job.subject == endpoint
        found = deliveries(office, endpoint)
        assert {one.event_id for one in found} == {id_of(event.name) for event in made}
        assert {one.trigger for one in found} == {delivery_pb2.Delivery.TRIGGER_REPLAY}
        assert "events.replayed" in office.actions()

    def test_since_until_and_types_restrict(self, office: Office, worker: Worker) -> None:
        _, second, third = office.renamed("One", "Two", "Three")
        endpoint = office.endpoint().name
        since, before = second.time.ToDatetime(UTC), third.time.ToDatetime(UTC)
        ended(office, replay(office, endpoint, since, until=timestamp(before), types=[RENAMED]))
        assert [one.event_id for one in deliveries(office, endpoint)] == [id_of(second.name)]

    def test_an_event_has_one_delivery_however_often_it_is_replayed(self, office: Office, worker: Worker) -> None:
        [event] = office.renamed("One")
        endpoint = office.endpoint(types=[RENAMED]).name
        ended(office, replay(office, endpoint))
        settle(office, endpoint, "delivered", id_of(event.name))
        ended(office, replay(office, endpoint))
        [delivery] = deliveries(office, endpoint)
        assert delivery.state == delivery_pb2.Delivery.STATE_PENDING

    def test_goes_through_many_batches(self, office: Office, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replays, "_BATCH", 2)
        made = office.renamed(*(f"Name {number}" for number in range(5)))
        endpoint = office.endpoint(types=[RENAMED]).name
        assert ended(office, replay(office, endpoint)).state == job_pb2.Job.STATE_SUCCEEDED
        assert len(deliveries(office, endpoint)) == len(made)

    def test_of_an_endpoint_that_was_disabled_meanwhile_it_says_so(
        self, office: Office, services: EventsServices, runtime: Runtime
    ) -> None:
        office.renamed("One")
        endpoint = office.endpoint().name
        job = replay(office, endpoint)
        office.owner.stubs.webhooks.DisableEndpoint(webhooks.DisableEndpointRequest(name=endpoint))
        worker = Worker(runtime.database, [services.replays.handler()], clock=runtime.clock)
        worker.start()
        try:
            dead = ended(office, job)
        finally:
            worker.stop()
        assert (dead.state, dead.dead_reason) == (job_pb2.Job.STATE_DEAD, "permanent")
        assert "disabled" in dead.last_error

    def test_a_test_event_is_nobody_elses(self, office: Office, worker: Worker) -> None:
        tested = office.endpoint().name
        office.owner.stubs.webhooks.TestEndpoint(webhooks.TestEndpointRequest(name=tested))
        kind = "plinth.events.webhook_endpoint.tested.v1"
        until(lambda: office.events(types=[kind]), "the audit of a test in the log")
        other = office.endpoint(types=["plinth.events.*"]).name
        ended(office, replay(office, other))
        assert kind not in {one.event_type for one in deliveries(office, other)}


class TestRecovery:
    def test_sends_what_failed_and_what_was_missed_and_nothing_twice(self, office: Office, worker: Worker) -> None:
        arrived, failed = office.renamed("Arrived", "Failed")
        endpoint = office.endpoint(types=[RENAMED]).name
        ended(office, replay(office, endpoint))
        settle(office, endpoint, "delivered", id_of(arrived.name))
        settle(office, endpoint, "failed", id_of(failed.name))
        [missed] = office.renamed("Missed")
        assert ended(office, recover(office, endpoint)).state == job_pb2.Job.STATE_SUCCEEDED
        states = {one.event_id: one.state for one in deliveries(office, endpoint)}
        assert states == {
            id_of(arrived.name): delivery_pb2.Delivery.STATE_DELIVERED,
            id_of(failed.name): delivery_pb2.Delivery.STATE_PENDING,
            id_of(missed.name): delivery_pb2.Delivery.STATE_PENDING,
        }
        assert "webhook_endpoint.recovered" in office.actions()

    def test_begins_at_the_moment_that_was_given(self, office: Office, worker: Worker) -> None:
        first, second = office.renamed("One", "Two")
        endpoint = office.endpoint(types=[RENAMED]).name
        ended(office, recover(office, endpoint, first.time.ToDatetime(UTC) + timedelta(microseconds=1)))
        assert [one.event_id for one in deliveries(office, endpoint)] == [id_of(second.name)]


class TestToASubscriber:
    def test_hears_the_events_of_this_workspace_in_order(
        self, office: Office, other_office: Office, listener: Listener, worker: Worker
    ) -> None:
        other_office.renamed("Theirs")
        office.renamed("One", "Two", "Three")
        assert ended(office, replay(office, SUBSCRIBER)).state == job_pb2.Job.STATE_SUCCEEDED
        assert listener.heard == ["One", "Two", "Three"]

    def test_after_a_failure_the_batch_that_failed_is_handled_event_by_event(
        self, office: Office, listener: Listener, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replays, "_BATCH", 2)
        office.renamed("One", "Two", "Three", "Four")
        listener.fail_at = "Four"
        since = LONG_AGO
        assert ended(office, replay(office, SUBSCRIBER, since, types=[RENAMED])).state == job_pb2.Job.STATE_SUCCEEDED
        assert listener.heard == ["One", "Two", "Three", "Three", "Four"]

    def test_an_event_that_cannot_be_handled_is_parked_and_the_others_go_on(
        self, office: Office, listener: Listener, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subscriptions, "_BACKOFF", Backoff(most=timedelta()))
        office.renamed("One", "Poison", "Three")
        listener.poison = "Poison"
        assert ended(office, replay(office, SUBSCRIBER)).state == job_pb2.Job.STATE_SUCCEEDED
        assert listener.heard[-2:] == ["One", "Three"]
        [parked] = office.owner.stubs.jobs.ListDeadJobs(jobs.ListDeadJobsRequest(parent=office.workspace)).jobs
        assert (parked.kind, parked.subject) == (f"{SUBSCRIBER}.parked", office.workspace)
        assert parked.last_error == "ValueError: for ever"

    def test_that_no_worker_has_ever_run_is_told_so(self, office: Office) -> None:
        with refused(CODE.NOT_FOUND, "NOT_FOUND") as refusal:
            replay(office, "nobody.listens")
        assert refusal.metadata == {"resource": "nobody.listens"}
        assert refusal.message == "No worker has ever run a subscriber of this name."


class TestRefusals:
    def test_a_target_that_is_not_there(self, office: Office, other_office: Office) -> None:
        theirs = other_office.endpoint().name
        for target in (theirs, theirs.replace(other_office.workspace, office.workspace)):
            with refused(CODE.NOT_FOUND, "NOT_FOUND") as refusal:
                replay(office, target)
            assert refusal.metadata == {"resource": target}

    def test_a_time_that_ends_before_it_begins(self, office: Office) -> None:
        endpoint = office.endpoint().name
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            replay(office, endpoint, LONG_AGO, until=timestamp(LONG_AGO))
        assert refusal.fields == ["until"]

    def test_a_disabled_endpoint(self, office: Office) -> None:
        endpoint = office.endpoint().name
        office.owner.stubs.webhooks.DisableEndpoint(webhooks.DisableEndpointRequest(name=endpoint))
        with refused(CODE.FAILED_PRECONDITION, "WEBHOOK_ENDPOINT_DISABLED"):
            replay(office, endpoint)
