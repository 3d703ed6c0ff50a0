"""Puts the parts of webhooks together."""

from dataclasses import dataclass
from datetime import timedelta

from plinth.identity.v1 import user_service_pb2_grpc
from plinth.tenancy.v1 import access_service_pb2_grpc
from services.events.repository import EventsRepositories
from services.events.webhooks import jobs
from services.events.webhooks.courier import Courier
from services.events.webhooks.deliveries import Deliveries
from services.events.webhooks.fan_out import NAME, FanOut
from services.events.webhooks.guard import AddressGuard, guard_of
from services.events.webhooks.notices import Notices
from services.events.webhooks.secrets import Secrets
from services.events.webhooks.sender import Sender
from services.kernel.clock import Clock
from services.kernel.config import Settings
from services.kernel.jobs import JobHandler
from services.kernel.subscriptions import Subscription
from services.kernel.unit_of_work import Units

# An attempt waits for its receiver most of the time: a workspace whose receivers hang must not take every thread, nor
# one receiver all that its workspace has (`MAX_CALLS`).
_AT_ONCE = 16
# Longer than a request may take, and its two transactions.
_TIMEOUT = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What others use of webhooks, and what a worker runs."""

    guard: AddressGuard
    deliveries: Deliveries
    subscription: Subscription[EventsRepositories]
    job_handlers: tuple[JobHandler, ...]


def build_webhooks(
    units: Units[EventsRepositories],
    clock: Clock,
    settings: Settings,
    secrets: Secrets,
    users: user_service_pb2_grpc.UserServiceStub,
    access: access_service_pb2_grpc.AccessServiceStub,
) -> Webhooks:
    """Put the parts together; `users` and `access` are the stubs of identity and tenancy."""
    guard, deliveries = guard_of(settings), Deliveries(clock)
    courier = Courier(units, clock, deliveries, Sender(guard, clock), secrets.keys)
    notices = Notices(units, users, access)
    return Webhooks(
        guard=guard,
        deliveries=deliveries,
        subscription=Subscription(NAME, frozenset(), FanOut(deliveries).handle, units),
        job_handlers=(
            JobHandler(jobs.DELIVER, jobs.QUEUE, courier.deliver, workspace_limit=_AT_ONCE, timeout=_TIMEOUT),
            JobHandler(jobs.PROBE, jobs.QUEUE, courier.probe, workspace_limit=_AT_ONCE, timeout=_TIMEOUT),
            JobHandler(jobs.RELEASE, jobs.QUEUE, courier.release, workspace_limit=_AT_ONCE, timeout=_TIMEOUT),
            JobHandler(jobs.NOTIFY, jobs.QUEUE, notices.notify, workspace_limit=_AT_ONCE, timeout=_TIMEOUT),
        ),
    )
