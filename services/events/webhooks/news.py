"""What is told of an endpoint that is sent nothing any more, or something again."""

from plinth.events.v1 import events_pb2, webhook_endpoint_pb2
from services.events.model.endpoints import WebhookEndpoint
from services.events.webhooks.model.health import DisableReason, Health
from services.kernel.wire import timestamp

_Endpoint = webhook_endpoint_pb2.WebhookEndpoint
DISABLE_REASONS = {
    None: _Endpoint.DISABLE_REASON_UNSPECIFIED,
    DisableReason.MANUAL: _Endpoint.DISABLE_REASON_MANUAL,
    DisableReason.GONE: _Endpoint.DISABLE_REASON_GONE,
    DisableReason.FAILING: _Endpoint.DISABLE_REASON_FAILING,
}


def disabled(endpoint: WebhookEndpoint, last_error: str = "") -> events_pb2.WebhookEndpointDisabled:
    """It was disabled; `last_error` is what the last attempt said, where that was the cause."""
    return events_pb2.WebhookEndpointDisabled(
        webhook_endpoint=endpoint.name,
        reason=DISABLE_REASONS[endpoint.health.disable_reason],
        last_error=last_error,
        failing_since_time=timestamp(endpoint.health.failing_since),
    )


def enabled(endpoint: WebhookEndpoint, before: Health) -> events_pb2.WebhookEndpointEnabled:
    """It was enabled again."""
    return events_pb2.WebhookEndpointEnabled(
        webhook_endpoint=endpoint.name, previous_reason=DISABLE_REASONS[before.disable_reason]
    )
