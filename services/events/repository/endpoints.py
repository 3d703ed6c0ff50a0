"""Webhook endpoints, as rows."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from services.events.model.endpoints import SignatureScheme, WebhookEndpoint
from services.events.model.health import DisableReason, Health, HealthState
from services.events.tables import webhook_endpoints
from services.kernel.db import Session, compiled

_FIRST = UUID(int=0)
_SETTINGS = ("url", "description", "types", "max_per_second", "payload_retention_days", "version", "update_time")
_HEALTH = ("state", "failures", "failing_since", "probes", "probe_time", "disable_time", "disable_reason")
_TRAFFIC = ("last_success_time", "last_failure_time", "next_send_time", "busy_until")

_t = webhook_endpoints.c
_of_workspace = _t.workspace_id == bindparam("workspace")
_by_id = and_(_of_workspace, _t.endpoint_id == bindparam("endpoint"))
_ADD = compiled(insert(webhook_endpoints).values({c.name: bindparam(c.name) for c in webhook_endpoints.columns}))
_GET = compiled(select(webhook_endpoints).where(_by_id))
# Of its key alone: deliveries to it may be inserted while somebody holds it.
_LOCK = compiled(select(webhook_endpoints).where(_by_id).with_for_update(key_share=True))
_SAVE = compiled(
    update(webhook_endpoints).where(_by_id).values({name: bindparam(name) for name in (*_SETTINGS, *_HEALTH)})
)
_SAVE_TRAFFIC = compiled(
    update(webhook_endpoints).where(_by_id).values({name: bindparam(name) for name in (*_HEALTH, *_TRAFFIC)})
)
_REMOVE = compiled(delete(webhook_endpoints).where(_by_id))
_REMOVE_ALL = compiled(delete(webhook_endpoints).where(_of_workspace))
_LIST = compiled(
    select(webhook_endpoints)
    .where(_of_workspace, _t.endpoint_id > bindparam("after"))
    .order_by(_t.endpoint_id)
    .limit(bindparam("count"))
)
_LIST_ALL = compiled(select(webhook_endpoints).where(_of_workspace).order_by(_t.endpoint_id))
_COUNT = compiled(select(func.count().label("count")).select_from(webhook_endpoints).where(_of_workspace))
# The workspace itself is a row of another domain: whoever adds an endpoint waits here for whoever is adding one.
_LOCK_COUNT = compiled(select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("key"), 0)).label("locked")))


class EndpointRepository:
    """The webhook endpoints of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lock_count(self, workspace_id: UUID) -> int:
        """How many endpoints there are; nobody else counts until the commit."""
        self._session.first(_LOCK_COUNT, lambda locked: locked, key=f"events.webhook_endpoints/{workspace_id}")
        return self._session.first(_COUNT, lambda count: count, workspace=workspace_id) or 0

    def add(self, endpoint: WebhookEndpoint) -> None:
        """Insert it."""
        self._session.run(
            _ADD,
            workspace_id=endpoint.workspace_id,
            endpoint_id=endpoint.endpoint_id,
            signature_scheme=endpoint.signature_scheme,
            creator_id=endpoint.creator_id,
            create_time=endpoint.create_time,
            **_settings(endpoint),
            **_health(endpoint.health),
            **_traffic(endpoint),
        )

    def get(self, workspace_id: UUID, endpoint_id: UUID) -> WebhookEndpoint | None:
        """The endpoint."""
        return self._session.first(_GET, _endpoint, workspace=workspace_id, endpoint=endpoint_id)

    def lock(self, workspace_id: UUID, endpoint_id: UUID) -> WebhookEndpoint | None:
        """The endpoint, locked until the commit."""
        return self._session.first(_LOCK, _endpoint, workspace=workspace_id, endpoint=endpoint_id)

    def save(self, endpoint: WebhookEndpoint) -> None:
        """Write what people set: its settings, its health, its version."""
        self._session.run(
            _SAVE,
            workspace=endpoint.workspace_id,
            endpoint=endpoint.endpoint_id,
            **_settings(endpoint),
            **_health(endpoint.health),
        )

    def save_traffic(self, endpoint: WebhookEndpoint) -> None:
        """Write what deliveries change: its health, its last times, its rate limit, the calls under way."""
        self._session.run(
            _SAVE_TRAFFIC,
            workspace=endpoint.workspace_id,
            endpoint=endpoint.endpoint_id,
            **_health(endpoint.health),
            **_traffic(endpoint),
        )

    def remove(self, endpoint: WebhookEndpoint) -> None:
        """Delete it, with its secrets, deliveries and replays."""
        self._session.run(_REMOVE, workspace=endpoint.workspace_id, endpoint=endpoint.endpoint_id)

    def remove_all(self, workspace_id: UUID) -> int:
        """Delete every endpoint of the workspace; how many."""
        return self._session.run(_REMOVE_ALL, workspace=workspace_id)

    def list_by_id(self, workspace_id: UUID, after: UUID | None, count: int) -> list[WebhookEndpoint]:
        """Endpoints, oldest first, after the one named."""
        return self._session.all(_LIST, _endpoint, workspace=workspace_id, after=after or _FIRST, count=count)

    def list_all(self, workspace_id: UUID) -> list[WebhookEndpoint]:
        """Every endpoint of the workspace, oldest first; their number is bounded."""
        return self._session.all(_LIST_ALL, _endpoint, workspace=workspace_id)


def _settings(endpoint: WebhookEndpoint) -> dict[str, object]:
    return {
        "url": endpoint.url,
        "description": endpoint.description,
        "types": list(endpoint.types),
        "max_per_second": endpoint.max_per_second,
        "payload_retention_days": endpoint.payload_retention_days,
        "version": endpoint.version,
        "update_time": endpoint.update_time,
    }


def _health(health: Health) -> dict[str, object]:
    return {
        "state": health.state,
        "failures": health.failures,
        "failing_since": health.failing_since,
        "probes": health.probes,
        "probe_time": health.probe_time,
        "disable_time": health.disable_time,
        "disable_reason": health.disable_reason or "",
    }


def _traffic(endpoint: WebhookEndpoint) -> dict[str, object]:
    return {
        "last_success_time": endpoint.last_success_time,
        "last_failure_time": endpoint.last_failure_time,
        "next_send_time": endpoint.next_send_time,
        "busy_until": list(endpoint.busy_until),
    }


def _endpoint(  # one parameter a column
    *,
    workspace_id: UUID,
    endpoint_id: UUID,
    url: str,
    description: str,
    types: list[str],
    signature_scheme: str,
    max_per_second: int,
    payload_retention_days: int,
    creator_id: UUID | None,
    state: str,
    failures: int,
    failing_since: datetime | None,
    probes: int,
    probe_time: datetime | None,
    disable_time: datetime | None,
    disable_reason: str,
    last_success_time: datetime | None,
    last_failure_time: datetime | None,
    next_send_time: datetime | None,
    busy_until: list[datetime],
    version: int,
    create_time: datetime,
    update_time: datetime,
) -> WebhookEndpoint:
    health = Health(
        state=HealthState(state),
        failures=failures,
        failing_since=failing_since,
        probes=probes,
        probe_time=probe_time,
        disable_time=disable_time,
        disable_reason=DisableReason(disable_reason) if disable_reason else None,
    )
    return WebhookEndpoint(
        workspace_id=workspace_id,
        endpoint_id=endpoint_id,
        url=url,
        description=description,
        types=tuple(types),
        signature_scheme=SignatureScheme(signature_scheme),
        max_per_second=max_per_second,
        payload_retention_days=payload_retention_days,
        creator_id=creator_id,
        health=health,
        last_success_time=last_success_time,
        last_failure_time=last_failure_time,
        next_send_time=next_send_time,
        busy_until=tuple(busy_until),
        version=version,
        create_time=create_time,
        update_time=update_time,
    )
