"""Makes deliveries, opens them again and cancels them: each row with the job that sends it, in one commit."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from plinth.events.v1 import events_pb2
from services.events.errors import DeliveryPayloadExpired
from services.events.model.deliveries import (
    ENDPOINT_DISABLED,
    JOB_CANCELLED,
    Delivery,
    DeliveryState,
    DeliveryTrigger,
)
from services.events.model.endpoints import WebhookEndpoint
from services.events.model.names import DELIVERY, ENDPOINT
from services.events.repository import EventsRepositories
from services.events.webhooks import jobs, news
from services.kernel.clock import Clock
from services.kernel.cloudevents import encode_json, json_form
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from services.kernel.unit_of_work import UnitOfWork

# So many deliveries that waited are sent at once; a job sends the rest.
_RELEASED_AT_ONCE = 500
_OPEN = frozenset(state for state in DeliveryState if state.open)
_ENDED = frozenset({DeliveryState.FAILED, DeliveryState.CANCELLED})


class Deliveries:
    """Works inside of its caller's unit of work, which must have locked the endpoint, or else the job named."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def fan_out(self, uow: UnitOfWork[EventsRepositories], event: Event, endpoints: Sequence[WebhookEndpoint]) -> int:
        """Deliver an event that has just happened to each endpoint; how many had it not yet. Locks nothing."""
        now, body = self._clock.now(), _body(event)
        return self._put(
            uow, [_delivery(endpoint, event, DeliveryTrigger.EVENT, body, now) for endpoint in endpoints], ()
        )

    def redeliver(
        self,
        uow: UnitOfWork[EventsRepositories],
        endpoint: WebhookEndpoint,
        events: Sequence[Event],
        *,
        trigger: DeliveryTrigger,
        missed_only: bool,
    ) -> int:
        """Deliver events of the past once more, each in a new round; how many.

        Those on their way already stay so, and with `missed_only` those that arrived.
        """
        now = self._clock.now()
        reopening = _ENDED if missed_only else _ENDED | {DeliveryState.DELIVERED}
        return self._put(uow, [_delivery(endpoint, event, trigger, _body(event), now) for event in events], reopening)

    def test(self, uow: UnitOfWork[EventsRepositories], endpoint: WebhookEndpoint) -> Delivery:
        """An event of type `plinth.events.webhook_endpoint.tested.v1`, sent once and before all others."""
        delivery = self._tested(uow, endpoint)
        uow.enqueue(jobs.deliver(delivery))
        return delivery

    def probe(self, uow: UnitOfWork[EventsRepositories], endpoint: WebhookEndpoint) -> Delivery:
        """What to probe an endpoint with: the delivery that has waited longest, locked, or else a test event."""
        waiting = uow.repo.deliveries.lock_oldest_waiting(endpoint.workspace_id, endpoint.endpoint_id)
        if waiting is not None:
            return waiting
        delivery = self._tested(uow, endpoint).waiting()
        uow.repo.deliveries.save(delivery)
        return delivery

    def retry(self, uow: UnitOfWork[EventsRepositories], endpoint: WebhookEndpoint, delivery: Delivery) -> Delivery:
        """The delivery, due now in a new round, whatever became of it. Raises DeliveryPayloadExpired."""
        current = uow.repo.deliveries.lock(endpoint.workspace_id, endpoint.endpoint_id, delivery.delivery_id)
        if current is None or current.payload is None:
            raise DeliveryPayloadExpired(delivery.name)
        reopened = current.reopened(self._clock.now())
        uow.repo.deliveries.save(reopened)
        uow.enqueue(jobs.deliver(reopened))
        return reopened

    def endpoint_changed(self, uow: UnitOfWork[EventsRepositories], endpoint: WebhookEndpoint) -> None:
        """After its health was changed: cancel what a disabled endpoint is not sent, or send what waited for it."""
        if endpoint.health.disabled:
            self._cancel(uow, endpoint, _OPEN, ENDPOINT_DISABLED)
        elif endpoint.health.sends:
            released = uow.repo.deliveries.release(
                endpoint.workspace_id, endpoint.endpoint_id, self._clock.now(), _RELEASED_AT_ONCE
            )
            uow.enqueue_all([jobs.deliver(delivery) for delivery in released])
            if len(released) == _RELEASED_AT_ONCE:
                uow.enqueue(jobs.release(endpoint))

    def cancel_with(self, uow: UnitOfWork[EventsRepositories], workspace_id: UUID, job: Job) -> None:
        """With a job of webhooks, cancel what it was to send, or what waits for it; with another, nothing."""
        if job.kind == jobs.DELIVER:
            delivery = self._of_job(uow, workspace_id, job)
            if delivery is not None and delivery.state.open:
                uow.repo.deliveries.save(delivery.cancelled(self._clock.now(), JOB_CANCELLED))
        elif job.kind in (jobs.PROBE, jobs.RELEASE):
            endpoint = uow.repo.endpoints.lock(*ENDPOINT.ids(job.subject))
            if endpoint is not None and jobs.awaited(job, endpoint):
                self._cancel(uow, endpoint, {DeliveryState.WAITING}, JOB_CANCELLED)

    def reopen_with(self, uow: UnitOfWork[EventsRepositories], workspace_id: UUID, job: Job) -> None:
        """With a cancelled job that is put back, open its delivery again. Raises DeliveryPayloadExpired."""
        delivery = self._of_job(uow, workspace_id, job) if job.kind == jobs.DELIVER else None
        if delivery is None or delivery.state is not DeliveryState.CANCELLED:
            return
        if delivery.payload is None:
            raise DeliveryPayloadExpired(delivery.name)
        uow.repo.deliveries.save(delivery.repeated(self._clock.now()))

    def _of_job(self, uow: UnitOfWork[EventsRepositories], workspace_id: UUID, job: Job) -> Delivery | None:
        """The delivery that a job sends, locked; None where it is gone, or another round of it has begun."""
        payload = uow.repo.jobs.payload(workspace_id, job.id)
        ref = jobs.DeliveryRef.parse(payload) if payload is not None else None
        if ref is None or uow.repo.endpoints.lock(workspace_id, ref.endpoint_id) is None:
            return None
        delivery = uow.repo.deliveries.lock(workspace_id, ref.endpoint_id, ref.delivery_id)
        return delivery if delivery is not None and delivery.round == ref.round else None

    def _cancel(
        self,
        uow: UnitOfWork[EventsRepositories],
        endpoint: WebhookEndpoint,
        states: Collection[DeliveryState],
        why: str,
    ) -> None:
        uow.repo.deliveries.cancel(endpoint.workspace_id, endpoint.endpoint_id, states, self._clock.now(), why)

    def _put(
        self,
        uow: UnitOfWork[EventsRepositories],
        deliveries: Sequence[Delivery],
        reopening: Collection[DeliveryState],
    ) -> int:
        put = [uow.repo.deliveries.put(delivery, reopening) for delivery in deliveries]
        made = [delivery for delivery in put if delivery is not None]
        uow.enqueue_all([jobs.deliver(delivery) for delivery in made])
        return len(made)

    def _tested(self, uow: UnitOfWork[EventsRepositories], endpoint: WebhookEndpoint) -> Delivery:
        now, delivery_id = self._clock.now(), new_id()
        name = DELIVERY.format(
            workspace=endpoint.workspace_id, webhook_endpoint=endpoint.endpoint_id, delivery=delivery_id
        )
        message = events_pb2.WebhookEndpointTested(webhook_endpoint=endpoint.name, delivery=name)
        event = Event(
            position=0,
            id=new_id(),
            workspace_id=endpoint.workspace_id,
            type=news.TESTED,
            source="//plinth/events",
            subject=endpoint.name,
            time=now,
            data_schema=message.DESCRIPTOR.full_name,
            data=message.SerializeToString(),
            actor="",
            traceparent="",
        )
        delivery = _delivery(endpoint, event, DeliveryTrigger.TEST, _body(event), now, delivery_id)
        uow.repo.deliveries.put(delivery)
        return delivery


def _body(event: Event) -> bytes:
    """What is signed and sent: the event as application/cloudevents+json, in structured mode."""
    return encode_json(json_form(event))


def _delivery(
    endpoint: WebhookEndpoint,
    event: Event,
    trigger: DeliveryTrigger,
    body: bytes,
    now: datetime,
    delivery_id: UUID | None = None,
) -> Delivery:
    return Delivery(
        workspace_id=endpoint.workspace_id,
        endpoint_id=endpoint.endpoint_id,
        delivery_id=delivery_id or new_id(),
        event_id=event.id,
        event_type=event.type,
        trigger=trigger,
        state=DeliveryState.PENDING,
        attempt_count=0,
        round=1,
        round_attempts=0,
        next_attempt_time=now,
        reserved_time=None,
        payload=body,
        last_error="",
        create_time=now,
        end_time=None,
    )
