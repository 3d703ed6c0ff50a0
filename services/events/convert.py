"""Between the events model and its protobuf messages."""

import contextlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from plinth.events.v1 import (
    delivery_pb2,
    event_pb2,
    event_service_pb2,
    job_pb2,
    job_service_pb2,
    webhook_endpoint_pb2,
    webhook_service_pb2,
)
from services.events.model.deliveries import Delivery, DeliveryAttempt, DeliveryState, DeliveryTrigger
from services.events.model.endpoints import EndpointPatch, EndpointSettings, EndpointView, SignatureScheme
from services.events.model.filters import EventFilter
from services.events.model.health import HealthState
from services.events.model.jobs import ShownState, job_name
from services.events.model.names import DELIVERY, ENDPOINT, EVENT, JOB
from services.events.webhooks.news import DISABLE_REASONS
from services.kernel import sse_stream
from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.etags import etag_of
from services.kernel.events import Event
from services.kernel.jobs.model import Job
from services.kernel.jobs.repository import JobFilter
from services.kernel.log_stream import Step
from services.kernel.names import WORKSPACE
from services.kernel.wire import in_mask, masked_text, optional_time, timestamp

_Endpoint = webhook_endpoint_pb2.WebhookEndpoint
_HEALTH = {
    HealthState.ACTIVE: _Endpoint.STATE_ACTIVE,
    HealthState.FAILING: _Endpoint.STATE_FAILING,
    HealthState.PROBING: _Endpoint.STATE_PROBING,
    HealthState.DISABLED: _Endpoint.STATE_DISABLED,
}
_SCHEMES = {
    SignatureScheme.HMAC_SHA256: _Endpoint.SIGNATURE_SCHEME_HMAC_SHA256,
    SignatureScheme.ED25519: _Endpoint.SIGNATURE_SCHEME_ED25519,
}
_MODEL_SCHEMES = {int(value): scheme for scheme, value in _SCHEMES.items()}
_DELIVERY_STATES = {
    DeliveryState.PENDING: delivery_pb2.Delivery.STATE_PENDING,
    DeliveryState.WAITING: delivery_pb2.Delivery.STATE_WAITING,
    DeliveryState.DELIVERED: delivery_pb2.Delivery.STATE_DELIVERED,
    DeliveryState.FAILED: delivery_pb2.Delivery.STATE_FAILED,
    DeliveryState.CANCELLED: delivery_pb2.Delivery.STATE_CANCELLED,
}
_MODEL_DELIVERY_STATES = {int(value): state for state, value in _DELIVERY_STATES.items()}
_TRIGGERS = {
    DeliveryTrigger.EVENT: delivery_pb2.Delivery.TRIGGER_EVENT,
    DeliveryTrigger.REPLAY: delivery_pb2.Delivery.TRIGGER_REPLAY,
    DeliveryTrigger.RECOVERY: delivery_pb2.Delivery.TRIGGER_RECOVERY,
    DeliveryTrigger.TEST: delivery_pb2.Delivery.TRIGGER_TEST,
}
_JOB_STATES = {
    ShownState.QUEUED: job_pb2.Job.STATE_QUEUED,
    ShownState.RUNNING: job_pb2.Job.STATE_RUNNING,
    ShownState.SUCCEEDED: job_pb2.Job.STATE_SUCCEEDED,
    ShownState.DEAD: job_pb2.Job.STATE_DEAD,
    ShownState.CANCELLED: job_pb2.Job.STATE_CANCELLED,
    ShownState.DISCARDED: job_pb2.Job.STATE_DISCARDED,
}
_MODEL_JOB_STATES = {int(value): state for state, value in _JOB_STATES.items()}


def workspace_in(name: str) -> UUID:
    """The workspace of that name, in the field `parent`. Raises NameInvalid."""
    (workspace_id,) = WORKSPACE.ids(name, field="parent")
    return workspace_id


def event_in(name: str) -> tuple[UUID, UUID]:
    """The workspace and the id of an event's name. Raises NameInvalid."""
    workspace_id, event_id = EVENT.ids(name)
    return workspace_id, event_id


def endpoint_in(name: str, *, field: str = "name") -> tuple[UUID, UUID]:
    """The workspace and the id of a webhook endpoint's name. Raises NameInvalid, which blames `field`."""
    workspace_id, endpoint_id = ENDPOINT.ids(name, field=field)
    return workspace_id, endpoint_id


def delivery_in(name: str) -> tuple[UUID, UUID, UUID]:
    """The workspace, the endpoint and the id of a delivery's name. Raises NameInvalid."""
    workspace_id, endpoint_id, delivery_id = DELIVERY.ids(name)
    return workspace_id, endpoint_id, delivery_id


def job_in(name: str, *, field: str = "name") -> tuple[UUID, UUID]:
    """The workspace and the id of a job's name. Raises NameInvalid, which blames `field`."""
    workspace_id, job_id = JOB.ids(name, field=field)
    return workspace_id, job_id


def event_to_proto(event: Event) -> event_pb2.Event:
    """An event of a workspace."""
    return event_pb2.Event(
        name=EVENT.format(workspace=str(event.workspace_id), event=event.id),
        type=event.type,
        source=event.source,
        subject=event.subject,
        time=timestamp(event.time),
        data_schema=event.data_schema,
        data=_data(event),
        actor=event.actor,
        traceparent=event.traceparent,
        cursor=str(event.position),
    )


def _data(event: Event) -> Struct:
    """The event's message in protojson; nothing where the contract no longer knows it."""
    data = Struct()
    with contextlib.suppress(KeyError):
        data.update(MessageToDict(event.message()))
    return data


def event_to_json(event: Event) -> str:
    """An event in protojson, on one line."""
    return sse_stream.as_json(event_to_proto(event))


def step_to_proto(step: Step) -> list[event_service_pb2.WatchEventsResponse]:
    """What a step of the log tells a watcher: each event with its cursor, or a heartbeat."""
    if not step.events:
        return [event_service_pb2.WatchEventsResponse(cursor=step.cursor)]
    return [
        event_service_pb2.WatchEventsResponse(event=event_to_proto(event), cursor=str(event.position))
        for event in step.events
    ]


def event_filter_from_proto(request: event_service_pb2.ListEventsRequest) -> EventFilter:
    """Which events the request is about. Raises FieldsInvalid for a moment that is none."""
    return EventFilter(
        types=tuple(request.types),
        subject=request.subject,
        actor=request.actor,
        start_time=optional_time(request, "start_time"),
        end_time=optional_time(request, "end_time"),
    )


def since_from_proto(
    request: event_service_pb2.ReplayEventsRequest | webhook_service_pb2.RecoverEndpointRequest,
) -> datetime:
    """The moment that the request begins at. Raises FieldsInvalid for none, or for a moment that is none."""
    since = optional_time(request, "since")
    if since is None:
        raise FieldsInvalid(FieldViolation("since", "is required"))
    return since


def endpoint_to_proto(view: EndpointView) -> webhook_endpoint_pb2.WebhookEndpoint:
    """A webhook endpoint, without any secret."""
    endpoint, health = view.endpoint, view.endpoint.health
    return webhook_endpoint_pb2.WebhookEndpoint(
        name=endpoint.name,
        url=endpoint.url,
        description=endpoint.description,
        types=endpoint.types,
        signature_scheme=_SCHEMES[endpoint.signature_scheme],
        max_per_second=endpoint.max_per_second,
        payload_retention_days=endpoint.payload_retention_days,
        state=_HEALTH[health.state],
        disable_reason=DISABLE_REASONS[health.disable_reason],
        public_keys=[secret.public_key for secret in view.secrets if secret.public_key],
        rotation_end_time=timestamp(view.rotation_end_time),
        consecutive_failures=health.failures,
        failing_since_time=timestamp(health.failing_since),
        last_success_time=timestamp(endpoint.last_success_time),
        last_failure_time=timestamp(endpoint.last_failure_time),
        disable_time=timestamp(health.disable_time),
        etag=etag_of(endpoint.version),
        create_time=timestamp(endpoint.create_time),
        update_time=timestamp(endpoint.update_time),
    )


def endpoint_settings_from_proto(endpoint: webhook_endpoint_pb2.WebhookEndpoint) -> EndpointSettings:
    """What a new endpoint shall be."""
    return EndpointSettings(
        url=endpoint.url,
        description=endpoint.description,
        types=tuple(endpoint.types),
        signature_scheme=_MODEL_SCHEMES.get(endpoint.signature_scheme, SignatureScheme.HMAC_SHA256),
        max_per_second=endpoint.max_per_second,
        payload_retention_days=endpoint.payload_retention_days,
    )


def endpoint_patch_from_proto(endpoint: webhook_endpoint_pb2.WebhookEndpoint, mask: FieldMask) -> EndpointPatch:
    """What to change of an endpoint."""
    types = tuple(endpoint.types)
    scheme = _MODEL_SCHEMES.get(endpoint.signature_scheme)
    return EndpointPatch(
        url=masked_text(endpoint, mask, "url"),
        description=masked_text(endpoint, mask, "description"),
        types=types if in_mask(mask, "types", populated=bool(types)) else None,
        signature_scheme=scheme if in_mask(mask, "signature_scheme", populated=scheme is not None) else None,
        max_per_second=_masked_number(endpoint, mask, "max_per_second"),
        payload_retention_days=_masked_number(endpoint, mask, "payload_retention_days"),
    )


def _masked_number(endpoint: webhook_endpoint_pb2.WebhookEndpoint, mask: FieldMask, field: str) -> int | None:
    value: int = getattr(endpoint, field)
    return value if in_mask(mask, field, populated=bool(value)) else None


def overlap_from_proto(request: webhook_service_pb2.RotateSecretRequest) -> timedelta | None:
    """How long former secrets still sign; None where the request does not say. Raises FieldsInvalid."""
    if not request.HasField("overlap"):
        return None
    try:
        return request.overlap.ToTimedelta()
    except (ValueError, OverflowError):
        raise FieldsInvalid(FieldViolation("overlap", "is not a valid duration")) from None


def delivery_to_proto(delivery: Delivery, attempts: Iterable[DeliveryAttempt] = ()) -> delivery_pb2.Delivery:
    """A delivery; with its payload where the delivery holds one."""
    return delivery_pb2.Delivery(
        name=delivery.name,
        event_id=str(delivery.event_id),
        event_type=delivery.event_type,
        trigger=_TRIGGERS[delivery.trigger],
        state=_DELIVERY_STATES[delivery.state],
        attempt_count=delivery.attempt_count,
        next_attempt_time=timestamp(delivery.next_attempt_time),
        attempts=map(_attempt_to_proto, attempts),
        payload=(delivery.payload or b"").decode(),
        create_time=timestamp(delivery.create_time),
        complete_time=timestamp(delivery.end_time),
        last_error=delivery.last_error,
    )


def _attempt_to_proto(attempt: DeliveryAttempt) -> delivery_pb2.DeliveryAttempt:
    exchange = attempt.exchange
    latency = Duration()
    latency.FromTimedelta(exchange.latency)
    return delivery_pb2.DeliveryAttempt(
        number=attempt.number,
        time=timestamp(exchange.time),
        latency=latency,
        response_status=exchange.status or 0,
        error=exchange.failure or "",
        error_message=exchange.error,
        address=exchange.address,
        request_headers=[f"{name}: {value}" for name, value in exchange.request_headers.items()],
        response_headers=[f"{name}: {value}" for name, value in exchange.response_headers.items()],
        response_body=exchange.response_body.decode(errors="replace"),
    )


def delivery_state_from_proto(state: int) -> DeliveryState | None:
    """A state to filter by; None for the unspecified one."""
    return _MODEL_DELIVERY_STATES.get(state)


def job_to_proto(job: Job) -> job_pb2.Job:
    """A job of a workspace."""
    return job_pb2.Job(
        name=job_name(job.workspace_id, job.id),
        queue=job.queue,
        kind=job.kind,
        subject=job.subject,
        state=_JOB_STATES[ShownState.of(job.state)],
        priority=job.priority,
        attempt_count=job.attempt,
        max_attempts=job.max_attempts,
        dead_reason=job.dead_reason,
        last_error=job.last_error,
        cancel_requested=job.cancel_requested,
        create_time=timestamp(job.create_time),
        run_time=timestamp(job.run_time),
        start_time=timestamp(job.start_time),
        end_time=timestamp(job.end_time),
    )


def job_filter_from_proto(
    request: job_service_pb2.ListJobsRequest | job_service_pb2.ListDeadJobsRequest, state: int = 0
) -> JobFilter:
    """Which jobs the request is about; in any state, where none is given."""
    shown = _MODEL_JOB_STATES.get(state)
    return JobFilter(shown.states if shown is not None else frozenset(), request.queue, request.kind)
