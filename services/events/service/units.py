"""What several use cases of events have in common: their units of work, and an endpoint under its lock."""

from uuid import UUID

from services.events.model.endpoints import WebhookEndpoint
from services.events.model.names import ENDPOINT
from services.events.repository import EventsRepositories
from services.kernel.errors import ResourceNotFound
from services.kernel.unit_of_work import UnitOfWork, Units

EventsUnitOfWork = UnitOfWork[EventsRepositories]
EventsUnits = Units[EventsRepositories]


def lock_endpoint(uow: EventsUnitOfWork, workspace_id: UUID, endpoint_id: UUID) -> WebhookEndpoint:
    """The endpoint, locked until the commit. Raises ResourceNotFound."""
    endpoint = uow.repo.endpoints.lock(workspace_id, endpoint_id)
    if endpoint is None:
        raise ResourceNotFound(ENDPOINT.format(workspace=workspace_id, webhook_endpoint=endpoint_id))
    return endpoint
