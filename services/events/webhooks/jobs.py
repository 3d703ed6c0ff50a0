"""The jobs of webhooks: what they are called, and what they carry."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from services.events.model.deliveries import Delivery, DeliveryTrigger
from services.events.model.endpoints import WebhookEndpoint
from services.kernel.jobs import Job, NewJob

QUEUE = "webhooks"
DELIVER = "events.deliver"
PROBE = "events.probe"
RELEASE = "events.release"
NOTIFY = "events.notify_disabled"

# A delivery ends by its own schedule and a probe by the health of its endpoint; waiting for a slot of the rate limit
# counts as an attempt of the job as well.
_MAX_ATTEMPTS = 1_000_000
_FIRST = 2


@dataclass(frozen=True, slots=True)
class DeliveryRef:
    """One round of a delivery: a job of a former round finds another one, and does nothing."""

    endpoint_id: UUID
    delivery_id: UUID
    round: int

    def encode(self) -> bytes:
        """As a job carries it."""
        return f"{self.endpoint_id}/{self.delivery_id}/{self.round}".encode()

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """What `encode` made. Raises ValueError."""
        endpoint, delivery, number = payload.decode().split("/")
        return cls(UUID(endpoint), UUID(delivery), int(number))


@dataclass(frozen=True, slots=True)
class EpisodeRef:
    """An endpoint in one row of failures, since that moment: a probe of a former row does nothing."""

    endpoint_id: UUID
    failing_since: datetime

    def encode(self) -> bytes:
        """As a job carries it."""
        return f"{self.endpoint_id}/{self.failing_since.isoformat()}".encode()

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """What `encode` made. Raises ValueError."""
        endpoint, since = payload.decode().split("/")
        return cls(UUID(endpoint), datetime.fromisoformat(since))


def deliver(delivery: Delivery) -> NewJob:
    """Send a pending delivery at its time. Its row is unique by endpoint and event, and so is its job by round."""
    return NewJob(
        QUEUE,
        DELIVER,
        DeliveryRef(delivery.endpoint_id, delivery.delivery_id, delivery.round).encode(),
        priority=_FIRST if delivery.trigger is DeliveryTrigger.TEST else 0,
        run_at=delivery.next_attempt_time,
        max_attempts=_MAX_ATTEMPTS,
        subject=delivery.name,
    )


def probe(endpoint: WebhookEndpoint, failing_since: datetime) -> NewJob:
    """Probe an endpoint at its time, and again, until it is well or left alone."""
    ref = EpisodeRef(endpoint.endpoint_id, failing_since)
    return NewJob(
        QUEUE,
        PROBE,
        ref.encode(),
        run_at=endpoint.health.probe_time,
        unique_key=ref.encode().decode(),
        max_attempts=_MAX_ATTEMPTS,
        subject=endpoint.name,
    )


def release(endpoint: WebhookEndpoint) -> NewJob:
    """Send the rest of what waits for an endpoint that is well again."""
    return NewJob(QUEUE, RELEASE, endpoint.endpoint_id.bytes, subject=endpoint.name)


def awaited(job: Job, endpoint: WebhookEndpoint) -> bool:
    """Whether what waits at the endpoint waits for this job: its release, or a probe of the present row of failures."""
    if job.kind == RELEASE:
        return endpoint.health.sends
    since = endpoint.health.failing_since
    return since is not None and job.unique_key == probe(endpoint, since).unique_key


def notify(endpoint: WebhookEndpoint) -> NewJob:
    """Tell by mail that an endpoint was disabled."""
    return NewJob(QUEUE, NOTIFY, endpoint.endpoint_id.bytes, subject=endpoint.name)
