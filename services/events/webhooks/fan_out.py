"""The subscription `events.webhooks`: every event of a workspace, to each of its endpoints that asked for it."""

from weakref import WeakKeyDictionary

from plinth.tenancy.v1 import events_pb2 as tenancy_events_pb2
from services.events.model.endpoints import WebhookEndpoint
from services.events.model.filters import matches
from services.events.repository import EventsRepositories
from services.events.webhooks import news
from services.events.webhooks.deliveries import Deliveries
from services.kernel.events import Event
from services.kernel.outbox import event_type
from services.kernel.unit_of_work import UnitOfWork

NAME = "events.webhooks"
_PURGED = event_type(tenancy_events_pb2.WorkspacePurged.DESCRIPTOR)


class FanOut:
    """Makes the deliveries of each event, in the commit that moves the subscription's cursor past it."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        # Many events share a unit of work, and nobody's endpoints change within one.
        self._endpoints: WeakKeyDictionary[UnitOfWork[EventsRepositories], list[WebhookEndpoint]] = WeakKeyDictionary()

    def handle(self, uow: UnitOfWork[EventsRepositories], event: Event) -> None:
        """Deliver an event to whoever asked for it. What has no workspace is nobody's, nor what is restricted."""
        if event.workspace_id is None or event.restricted or event.type == news.TESTED:
            return
        if event.type == _PURGED:
            uow.repo.endpoints.remove_all(event.workspace_id)
            self._endpoints.pop(uow, None)
            return
        if uow not in self._endpoints:
            self._endpoints[uow] = uow.repo.endpoints.list_all(event.workspace_id)
        wanting = [endpoint for endpoint in self._endpoints[uow] if _wants(endpoint, event)]
        if wanting:
            self._deliveries.fan_out(uow, event, wanting)


def _wants(endpoint: WebhookEndpoint, event: Event) -> bool:
    """An endpoint is told of nothing that happened before it was there."""
    return not endpoint.health.disabled and event.time >= endpoint.create_time and matches(endpoint.types, event.type)
