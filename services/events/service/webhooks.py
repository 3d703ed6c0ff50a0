"""Use cases of WebhookService: endpoints, their secrets and what was delivered to them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from plinth.events.v1 import events_pb2
from services.events.errors import (
    WebhookEndpointLimitReached,
    WebhookSecretLimitReached,
    WebhookUrlRefused,
)
from services.events.model.deliveries import Delivery, DeliveryAttempt, DeliveryState, DeliveryTrigger
from services.events.model.endpoints import (
    DEFAULT_OVERLAP,
    MAX_ENDPOINTS,
    MAX_FORMER_SECRETS,
    EndpointPatch,
    EndpointSettings,
    EndpointView,
    WebhookEndpoint,
)
from services.events.model.names import DELIVERY, ENDPOINT
from services.events.service.replays import Replays
from services.events.service.units import EventsUnitOfWork, EventsUnits, lock_endpoint
from services.events.webhooks import news
from services.events.webhooks.deliveries import Deliveries
from services.events.webhooks.guard import AddressGuard, UrlRefused
from services.events.webhooks.secrets import Secrets
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import FieldsInvalid, FieldViolation, ResourceNotFound
from services.kernel.etags import check_etag
from services.kernel.ids import new_id
from services.kernel.paging import Pager
from services.kernel.wire import timestamp


@dataclass(frozen=True, slots=True, repr=False)
class ShownSecret:
    """An endpoint with the secret that was just made for it; `secret` is empty for ed25519."""

    view: EndpointView
    secret: str


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery with its attempts, oldest first."""

    delivery: Delivery
    attempts: tuple[DeliveryAttempt, ...]


class WebhookService:
    """Webhook endpoints of a workspace."""

    def __init__(
        self,
        units: EventsUnits,
        clock: Clock,
        pager: Pager,
        secrets: Secrets,
        guard: AddressGuard,
        deliveries: Deliveries,
        replays: Replays,
    ) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._secrets = secrets
        self._guard = guard
        self._deliveries = deliveries
        self._replays = replays

    def create(self, workspace_id: UUID, settings: EndpointSettings) -> ShownSecret:
        """A new endpoint with its first secret. Raises WebhookUrlRefused or WebhookEndpointLimitReached."""
        self._check(settings.url)
        now = self._clock.now()
        endpoint = settings.endpoint(workspace_id, new_id(), current_caller().user_id, now)
        made = self._secrets.make(endpoint, now)
        with self._units() as uow:
            if uow.repo.endpoints.lock_count(workspace_id) >= MAX_ENDPOINTS:
                raise WebhookEndpointLimitReached(MAX_ENDPOINTS)
            uow.repo.endpoints.add(endpoint)
            uow.repo.secrets.add(made.secret)
            uow.emit(
                endpoint.name,
                events_pb2.WebhookEndpointCreated(
                    webhook_endpoint=endpoint.name, url=endpoint.url, types=endpoint.types
                ),
            )
            uow.commit()
        return ShownSecret(EndpointView(endpoint, (made.secret,)), made.shown)

    def get(self, workspace_id: UUID, endpoint_id: UUID) -> EndpointView:
        """An endpoint. Raises ResourceNotFound."""
        with self._units() as uow:
            return self._view(uow, _found(uow, workspace_id, endpoint_id))

    def list_endpoints(self, workspace_id: UUID, page_size: int, page_token: str) -> tuple[list[EndpointView], str]:
        """A page of endpoints, oldest first, and the token of the next. Raises PageTokenInvalid."""
        page = self._pager.page(page_token, page_size, "ListWebhookEndpoints", str(workspace_id))
        with self._units() as uow:
            found = uow.repo.endpoints.list_by_id(workspace_id, page.after_id(), page.count)
            shown, token = self._pager.cut(page, found, lambda endpoint: (endpoint.endpoint_id,))
            ids = [endpoint.endpoint_id for endpoint in shown]
            secrets = uow.repo.secrets.live_of(workspace_id, ids, self._clock.now())
        views = [
            EndpointView(endpoint, tuple(one for one in secrets if one.endpoint_id == endpoint.endpoint_id))
            for endpoint in shown
        ]
        return views, token

    def update(self, workspace_id: UUID, endpoint_id: UUID, etag: str, patch: EndpointPatch) -> EndpointView:
        """The endpoint after the patch.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, FieldsInvalid or WebhookUrlRefused.
        """
        if patch.url == "":
            raise FieldsInvalid(FieldViolation("webhook_endpoint.url", "must not be empty"))
        if patch.url is not None:
            self._check(patch.url)
        with self._units() as uow:
            before = lock_endpoint(uow, workspace_id, endpoint_id)
            check_etag(etag, before.version, before.name)
            after = before.changed(patch, self._clock.now())
            view = self._view(uow, after)
            if after is not before:
                uow.repo.endpoints.save(after)
                if after.url != before.url:
                    self._deliveries.endpoint_changed(uow, after)
                uow.emit(
                    after.name,
                    events_pb2.WebhookEndpointUpdated(webhook_endpoint=after.name, url=after.url, types=after.types),
                )
                uow.commit()
        return view

    def delete(self, workspace_id: UUID, endpoint_id: UUID, etag: str) -> None:
        """Delete an endpoint and all that belongs to it. Raises ResourceNotFound, EtagRequired or EtagMismatch."""
        with self._units() as uow:
            endpoint = lock_endpoint(uow, workspace_id, endpoint_id)
            check_etag(etag, endpoint.version, endpoint.name)
            uow.repo.endpoints.remove(endpoint)
            uow.emit(endpoint.name, events_pb2.WebhookEndpointDeleted(webhook_endpoint=endpoint.name))
            uow.commit()

    def rotate(self, workspace_id: UUID, endpoint_id: UUID, overlap: timedelta | None) -> ShownSecret:
        """A new current secret; former ones sign for `overlap` (None: a day) more.

        Raises ResourceNotFound or WebhookSecretLimitReached.
        """
        now = self._clock.now()
        end = now + (DEFAULT_OVERLAP if overlap is None else overlap)
        with self._units() as uow:
            endpoint = lock_endpoint(uow, workspace_id, endpoint_id)
            uow.repo.secrets.retire(workspace_id, endpoint_id, end)
            if len(uow.repo.secrets.live(workspace_id, endpoint_id, now)) > MAX_FORMER_SECRETS:
                raise WebhookSecretLimitReached(MAX_FORMER_SECRETS)
            made = self._secrets.make(endpoint, now)
            uow.repo.secrets.add(made.secret)
            view = self._view(uow, endpoint)
            uow.emit(
                endpoint.name,
                events_pb2.WebhookSecretRotated(webhook_endpoint=endpoint.name, overlap_end_time=timestamp(end)),
            )
            uow.commit()
        return ShownSecret(view, made.shown)

    def enable(self, workspace_id: UUID, endpoint_id: UUID) -> EndpointView:
        """The endpoint, with a clean slate if it was disabled. Raises ResourceNotFound."""
        with self._units() as uow:
            before = lock_endpoint(uow, workspace_id, endpoint_id)
            after = before.with_health(before.health.enabled(), self._clock.now())
            if after is not before:
                uow.repo.endpoints.save(after)
                self._deliveries.endpoint_changed(uow, after)
                uow.emit(after.name, news.enabled(after, before.health))
            view = self._view(uow, after)
            uow.commit()
        return view

    def disable(self, workspace_id: UUID, endpoint_id: UUID) -> EndpointView:
        """The endpoint, sent nothing more; what waits is cancelled. Raises ResourceNotFound."""
        now = self._clock.now()
        with self._units() as uow:
            before = lock_endpoint(uow, workspace_id, endpoint_id)
            after = before.with_health(before.health.disabled_by_hand(now), now)
            if after is not before:
                uow.repo.endpoints.save(after)
                self._deliveries.endpoint_changed(uow, after)
                uow.emit(after.name, news.disabled(after))
            view = self._view(uow, after)
            uow.commit()
        return view

    def test(self, workspace_id: UUID, endpoint_id: UUID) -> Delivery:
        """A test event on its way to the endpoint. Raises ResourceNotFound or WebhookEndpointDisabled."""
        with self._units() as uow:
            endpoint = lock_endpoint(uow, workspace_id, endpoint_id)
            endpoint.require_enabled()
            delivery = self._deliveries.test(uow, endpoint)
            uow.emit(
                endpoint.name,
                events_pb2.WebhookEndpointTested(webhook_endpoint=endpoint.name, delivery=delivery.name),
            )
            uow.commit()
        return delivery

    def recover(self, workspace_id: UUID, endpoint_id: UUID, since: datetime) -> str:
        """Begin to send what has not arrived since then; the name of the job that does it.

        Raises ResourceNotFound or WebhookEndpointDisabled.
        """
        with self._units() as uow:
            endpoint = lock_endpoint(uow, workspace_id, endpoint_id)
            endpoint.require_enabled()
            job = self._replays.begin(uow, workspace_id, endpoint, DeliveryTrigger.RECOVERY, since)
            uow.emit(
                endpoint.name,
                events_pb2.WebhookEndpointRecovered(webhook_endpoint=endpoint.name, since=timestamp(since), job=job),
            )
            uow.commit()
        return job

    def list_deliveries(
        self,
        workspace_id: UUID,
        endpoint_id: UUID,
        state: DeliveryState | None,
        event_id: UUID | None,
        page_size: int,
        page_token: str,
    ) -> tuple[list[DeliveryView], str]:
        """A page of an endpoint's deliveries, newest first, each with its last attempt, and the token of the next.

        Raises ResourceNotFound or PageTokenInvalid.
        """
        filters = (state or "", str(event_id or ""))
        page = self._pager.page(page_token, page_size, "ListDeliveries", str(workspace_id), str(endpoint_id), *filters)
        with self._units() as uow:
            _found(uow, workspace_id, endpoint_id)
            found = uow.repo.deliveries.list_newest(
                workspace_id, endpoint_id, state, event_id, page.after_id(), page.count
            )
            shown, token = self._pager.cut(page, found, lambda delivery: (delivery.delivery_id,))
            attempts = uow.repo.deliveries.last_attempts(workspace_id, endpoint_id, shown)
        last = {attempt.delivery_id: attempt for attempt in attempts}
        views = [DeliveryView(one, (last[one.delivery_id],) if one.delivery_id in last else ()) for one in shown]
        return views, token

    def get_delivery(self, workspace_id: UUID, endpoint_id: UUID, delivery_id: UUID) -> DeliveryView:
        """A delivery with its attempts. Raises ResourceNotFound."""
        with self._units() as uow:
            delivery = uow.repo.deliveries.get(workspace_id, endpoint_id, delivery_id)
            if delivery is None:
                raise _no_delivery(workspace_id, endpoint_id, delivery_id)
            return DeliveryView(delivery, tuple(uow.repo.deliveries.attempts(delivery)))

    def retry(self, workspace_id: UUID, endpoint_id: UUID, delivery_id: UUID) -> Delivery:
        """The delivery, on its way again.

        Raises ResourceNotFound, WebhookEndpointDisabled or DeliveryPayloadExpired.
        """
        with self._units() as uow:
            endpoint = uow.repo.endpoints.lock(workspace_id, endpoint_id)
            delivery = uow.repo.deliveries.get(workspace_id, endpoint_id, delivery_id)
            if endpoint is None or delivery is None:
                raise _no_delivery(workspace_id, endpoint_id, delivery_id)
            endpoint.require_enabled()
            retried = self._deliveries.retry(uow, endpoint, delivery)
            uow.emit(
                retried.name,
                events_pb2.DeliveryRetried(delivery=retried.name, event_id=str(retried.event_id)),
            )
            uow.commit()
        return retried

    def _view(self, uow: EventsUnitOfWork, endpoint: WebhookEndpoint) -> EndpointView:
        secrets = uow.repo.secrets.live(endpoint.workspace_id, endpoint.endpoint_id, self._clock.now())
        return EndpointView(endpoint, tuple(secrets))

    def _check(self, url: str) -> None:
        try:
            self._guard.check_url(url)
        except UrlRefused as refused:
            raise WebhookUrlRefused(str(refused)) from None


def _found(uow: EventsUnitOfWork, workspace_id: UUID, endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = uow.repo.endpoints.get(workspace_id, endpoint_id)
    if endpoint is None:
        raise ResourceNotFound(ENDPOINT.format(workspace=workspace_id, webhook_endpoint=endpoint_id))
    return endpoint


def _no_delivery(workspace_id: UUID, endpoint_id: UUID, delivery_id: UUID) -> ResourceNotFound:
    return ResourceNotFound(DELIVERY.format(workspace=workspace_id, webhook_endpoint=endpoint_id, delivery=delivery_id))
