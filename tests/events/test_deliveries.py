"""The log of deliveries, as the people of a workspace read it."""

from datetime import UTC, datetime, timedelta

import grpc
import orjson

from plinth.events.v1 import delivery_pb2
from plinth.events.v1 import webhook_service_pb2 as webhooks
from services.events.model.attempts import Exchange, Failure
from services.events.model.names import DELIVERY
from services.events.repository import EventsRepositories
from services.kernel.caller import Caller
from services.kernel.unit_of_work import Units
from services.runtime import Runtime
from tests.events.office import Office
from tests.support.acting import acting
from tests.support.errors import refused

CODE = grpc.StatusCode
State = delivery_pb2.Delivery
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
REFUSED = Exchange(
    AT,
    timedelta(milliseconds=1500),
    {"webhook-id": "0199"},
    address="192.0.2.1",
    status=503,
    response_headers={"retry-after": "60"},
    response_body=b"later\xff",
    failure=Failure.STATUS,
    error="The answer was 503.",
)


def on_its_way(office: Office, endpoint: str = "") -> delivery_pb2.Delivery:
    """A test on its way to an endpoint, or to a new one."""
    request = webhooks.TestEndpointRequest(name=endpoint or office.endpoint().name)
    return office.owner.stubs.webhooks.TestEndpoint(request).delivery


def attempted(runtime: Runtime, name: str, *exchanges: Exchange) -> None:
    """Let attempts have been made, as only a worker makes them."""
    workspace_id, endpoint_id, delivery_id = DELIVERY.ids(name)
    units = Units(runtime.resources, "events", EventsRepositories)
    with acting(Caller(service="events", workspace_id=workspace_id)), units() as uow:
        delivery = uow.repo.deliveries.lock(workspace_id, endpoint_id, delivery_id)
        assert delivery is not None
        for exchange in exchanges:
            delivery = delivery.attempted(exchange.error)
            uow.repo.deliveries.add_attempt(delivery, exchange)
        uow.repo.deliveries.save(delivery)
        uow.commit()


def listed(office: Office, endpoint: str, **filters: object) -> list[delivery_pb2.Delivery]:
    """Deliveries to an endpoint, newest first."""
    request = webhooks.ListDeliveriesRequest(parent=endpoint, **filters)  # type: ignore[arg-type]  # of the request
    return list(office.owner.stubs.webhooks.ListDeliveries(request).deliveries)


class TestGetDelivery:
    def test_tells_the_request_the_answer_and_how_long_it_took(self, office: Office, runtime: Runtime) -> None:
        name = on_its_way(office).name
        attempted(runtime, name, REFUSED, REFUSED)
        delivery = office.delivery(name)
        body = orjson.loads(delivery.payload)
        assert (body["id"], body["type"]) == (delivery.event_id, delivery.event_type)
        assert (delivery.attempt_count, delivery.last_error) == (2, "The answer was 503.")
        assert [attempt.number for attempt in delivery.attempts] == [1, 2]
        attempt = delivery.attempts[0]
        assert attempt.time.ToDatetime(UTC) == AT
        assert attempt.latency.ToTimedelta() == timedelta(milliseconds=1500)
        assert (attempt.response_status, attempt.error, attempt.error_message) == (
            503,
            "status",
            "The answer was 503.",
        )
        assert attempt.address == "192.0.2.1"
        assert list(attempt.request_headers) == ["webhook-id: 0199"]
        assert list(attempt.response_headers) == ["retry-after: 60"]
        assert attempt.response_body == "later�"

    def test_another_workspaces_is_not_there(self, office: Office, other_office: Office) -> None:
        theirs = on_its_way(other_office).name
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            office.delivery(theirs.replace(other_office.workspace, office.workspace))


class TestListDeliveries:
    def test_the_newest_come_first_with_their_last_attempt_and_no_body(self, office: Office, runtime: Runtime) -> None:
        endpoint = office.endpoint().name
        first, second = on_its_way(office, endpoint), on_its_way(office, endpoint)
        attempted(runtime, first.name, REFUSED, REFUSED)
        found = listed(office, endpoint)
        assert [delivery.name for delivery in found] == [second.name, first.name]
        assert [[attempt.number for attempt in delivery.attempts] for delivery in found] == [[], [2]]
        assert {delivery.payload for delivery in found} == {""}

    def test_state_and_event_restrict(self, office: Office) -> None:
        endpoint = office.endpoint().name
        first, second = on_its_way(office, endpoint), on_its_way(office, endpoint)
        assert [one.name for one in listed(office, endpoint, event_id=first.event_id)] == [first.name]
        assert [one.name for one in listed(office, endpoint, state=State.STATE_PENDING)] == [second.name, first.name]
        assert listed(office, endpoint, state=State.STATE_FAILED) == []


class TestRetryDelivery:
    def test_sends_it_once_more_whatever_became_of_it(self, office: Office, runtime: Runtime) -> None:
        name = on_its_way(office).name
        attempted(runtime, name, REFUSED)
        retried = office.owner.stubs.webhooks.RetryDelivery(webhooks.RetryDeliveryRequest(name=name)).delivery
        assert (retried.state, retried.attempt_count, retried.last_error) == (State.STATE_PENDING, 1, "")
        assert [job.subject for job in office.jobs()] == [name, name]
        assert "delivery.retried" in office.actions()

    def test_not_without_its_body(self, office: Office) -> None:
        name = on_its_way(office).name
        office.database.execute(
            "update events.webhook_deliveries set payload = null where delivery_id = %s", [name.rpartition("/")[2]]
        )
        with refused(CODE.FAILED_PRECONDITION, "DELIVERY_PAYLOAD_EXPIRED") as refusal:
            office.owner.stubs.webhooks.RetryDelivery(webhooks.RetryDeliveryRequest(name=name))
        assert refusal.metadata == {"delivery": name}
