"""The use cases of events, one module a service of the contract, and how they are put together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from plinth.identity.v1 import user_service_pb2_grpc
from plinth.tenancy.v1 import access_service_pb2_grpc
from services.events.repository import EventsRepositories
from services.events.service.events import EventService
from services.events.service.housekeeping import Housekeeping
from services.events.service.jobs import JobService
from services.events.service.replays import Replays
from services.events.service.webhooks import WebhookService
from services.events.webhooks.build import Webhooks, build_webhooks
from services.events.webhooks.secrets import Secrets
from services.kernel.config import Settings
from services.kernel.paging import Pager
from services.kernel.secrets import Keyring
from services.kernel.subscriptions import Subscription
from services.kernel.unit_of_work import Resources, Units

__all__ = [
    "EventService",
    "EventsServices",
    "Housekeeping",
    "JobService",
    "Replays",
    "WebhookService",
    "build_events",
]


@dataclass(frozen=True, slots=True)
class EventsServices:
    """Every use case of events. `outbound` is what sends webhooks, `webhooks` what manages them."""

    events: EventService
    webhooks: WebhookService
    jobs: JobService
    replays: Replays
    housekeeping: Housekeeping
    outbound: Webhooks


def build_events(
    resources: Resources,
    settings: Settings,
    keyring: Keyring,
    pager: Pager,
    users: user_service_pb2_grpc.UserServiceStub,
    access: access_service_pb2_grpc.AccessServiceStub,
    subscriptions: Callable[[], Sequence[Subscription[Any]]],
) -> EventsServices:
    """Put the use cases together; `users` and `access` are the stubs of identity and tenancy.

    `subscriptions` are those of the mesh, for replays.
    """
    clock = resources.clock
    units = Units(resources, "events", EventsRepositories)
    secrets = Secrets(keyring)
    outbound = build_webhooks(units, clock, settings, secrets, users, access)
    replays = Replays(units, clock, outbound.deliveries, subscriptions)
    return EventsServices(
        events=EventService(units, pager, replays),
        webhooks=WebhookService(units, clock, pager, secrets, outbound.guard, outbound.deliveries, replays),
        jobs=JobService(units, clock, pager, outbound.deliveries),
        replays=replays,
        housekeeping=Housekeeping(units, clock, keyring),
        outbound=outbound,
    )
