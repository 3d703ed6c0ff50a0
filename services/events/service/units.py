"""What several use cases of events have in common: their units of work, and an endpoint under its lock."""

from uuid import UUID

from plinth.events.v1 import webhook_endpoint_pb2
from services.events.model.endpoints import WebhookEndpoint
from services.events.model.names import ENDPOINT
from services.events.repository import EventsRepositories
from services.events.webhooks.model.health import Health
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


def disable_reason(health: Health) -> webhook_endpoint_pb2.WebhookEndpoint.DisableReason.ValueType:
    """Why an endpoint is sent nothing, as events tell it."""
    word = health.disable_reason.upper() if health.disable_reason is not None else "UNSPECIFIED"
    return webhook_endpoint_pb2.WebhookEndpoint.DisableReason.Value(f"DISABLE_REASON_{word}")
