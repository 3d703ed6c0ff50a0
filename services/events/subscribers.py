"""What a worker does for events: sends webhooks, and replays."""

from typing import Any

from services.events.service import EventsServices
from services.kernel.jobs import JobHandler
from services.kernel.subscriptions import Subscription


def subscriptions(services: EventsServices) -> list[Subscription[Any]]:
    """Every event, to the endpoints that asked for it."""
    return [services.outbound.subscription]


def job_handlers(services: EventsServices) -> list[JobHandler]:
    """Deliveries and probes of webhooks, and replays."""
    return [*services.outbound.job_handlers, services.replays.handler()]
