"""What is told of endpoints: of one that is sent nothing any more, of one that is sent something again, of a test."""

from plinth.events.v1 import events_pb2, webhook_endpoint_pb2
from services.events.model.endpoints import WebhookEndpoint
from services.events.model.health import DisableReason, Health
from services.kernel.outbox import event_type
from services.kernel.wire import timestamp

# A test is for the endpoint that it was made for: neither fan-out nor a replay sends it to another.
TESTED = event_type(events_pb2.WebhookEndpointTested.DESCRIPTOR)
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
