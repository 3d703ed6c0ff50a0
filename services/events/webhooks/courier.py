"""Carries deliveries to their endpoints: what the jobs that send, probe and release do.

An attempt is two short transactions with the request between them, and no row is locked while it runs. A worker that
dies in between leaves the delivery as it was: the next attempt sends it again, under the same `webhook-id`.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.events.model import signing
from services.events.model.attempts import Exchange
from services.events.model.deliveries import Delivery, DeliveryState, DeliveryTrigger
from services.events.model.endpoints import Secret, WebhookEndpoint
from services.events.model.health import Health
from services.events.model.turns import Conclusion, conclude, take_turn
from services.events.repository import EventsRepositories
from services.events.webhooks import jobs, news
from services.events.webhooks.deliveries import Deliveries
from services.events.webhooks.sender import Sender
from services.kernel.clock import Clock
from services.kernel.cloudevents import JSON
from services.kernel.jobs import Attempt, JobCancelled, PermanentError, RetryableError
from services.kernel.unit_of_work import UnitOfWork, Units

_CONTENT = {"content-type": f"{JSON}; charset=utf-8", "user-agent": "Plinth-Webhooks/1.0"}


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A delivery that goes out now: its body, what signs it, and until when it counts as under way (a probe never)."""

    endpoint: WebhookEndpoint
    delivery: Delivery
    body: bytes
    secrets: tuple[Secret, ...]
    until: datetime | None


class Courier:
    """Does the jobs of webhooks. `keys` opens secrets, in their order; `chance` draws from [0, 1)."""

    def __init__(
        self,
        units: Units[EventsRepositories],
        clock: Clock,
        deliveries: Deliveries,
        sender: Sender,
        keys: Callable[[Iterable[Secret]], list[str]],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._units = units
        self._clock = clock
        self._deliveries = deliveries
        self._sender = sender
        self._keys = keys
        self._chance = chance

    def deliver(self, attempt: Attempt) -> None:
        """Make the next attempt of a delivery.

        Raises RetryableError for the attempt after it, or when it has to wait for its turn, JobCancelled for a delivery
        that was cancelled under way, and PermanentError for one that is given up: requeued, its job begins with all its
        attempts before it.
        """
        parcel = self._prepared(_workspace(attempt), jobs.DeliveryRef.parse(attempt.payload), first=attempt.number == 1)
        if parcel is None:
            return
        exchange = self._send(parcel)
        came_of_it = self._record(parcel, exchange, probe=False)
        if came_of_it is None:
            return
        if came_of_it.delivery.state is DeliveryState.CANCELLED:
            raise JobCancelled
        if parcel.delivery.trigger is DeliveryTrigger.TEST:
            return
        if came_of_it.retry_time is not None:
            raise RetryableError(exchange.error, retry_after=self._until(came_of_it.retry_time))
        if came_of_it.delivery.state is DeliveryState.FAILED:
            raise PermanentError(exchange.error)

    def probe(self, attempt: Attempt) -> None:
        """Probe an endpoint. Raises RetryableError for the next probe, until the endpoint is well or left alone."""
        workspace_id, ref = _workspace(attempt), jobs.EpisodeRef.parse(attempt.payload)
        with self._units(workspace_id) as uow:
            endpoint = uow.repo.endpoints.lock(workspace_id, ref.endpoint_id)
            if endpoint is None or endpoint.health.failing_since != ref.failing_since:
                return
            if endpoint.health.probe_time is None:
                return
            wait = self._until(endpoint.health.probe_time)
            if wait > timedelta(0):
                raise RetryableError("It is not time for the next probe.", retry_after=wait)
            parcel = self._parcel(uow, endpoint, self._deliveries.probe(uow, endpoint), None)
            uow.commit()
        exchange = self._send(parcel)
        came_of_it = self._record(parcel, exchange, probe=True)
        if came_of_it is not None and came_of_it.endpoint.health.probe_time is not None:
            raise RetryableError(exchange.error, retry_after=self._until(came_of_it.endpoint.health.probe_time))

    def release(self, attempt: Attempt) -> None:
        """Send more of what has waited for an endpoint that is well again."""
        workspace_id = _workspace(attempt)
        with self._units(workspace_id) as uow:
            endpoint = uow.repo.endpoints.lock(workspace_id, UUID(bytes=attempt.payload))
            if endpoint is not None and endpoint.health.sends:
                self._deliveries.endpoint_changed(uow, endpoint)
                uow.commit()

    def _prepared(self, workspace_id: UUID, ref: jobs.DeliveryRef, *, first: bool) -> _Parcel | None:
        """The delivery, if it is to go out now. Raises RetryableError where it has to wait for its turn."""
        with self._units(workspace_id) as uow:
            endpoint = uow.repo.endpoints.lock(workspace_id, ref.endpoint_id)
            found = uow.repo.deliveries.lock(workspace_id, ref.endpoint_id, ref.delivery_id)
            if endpoint is None or found is None or found.round != ref.round:
                return None
            now = self._clock.now()
            # Its job was given up with it, and somebody has put that back.
            requeued = first and found.state is DeliveryState.FAILED
            turn = take_turn(endpoint, found.repeated(now) if requeued else found, now)
            if turn.endpoint is not endpoint:
                uow.repo.endpoints.save_traffic(turn.endpoint)
            if turn.delivery is not found:
                uow.repo.deliveries.save(turn.delivery)
            if turn.delivery.state is DeliveryState.WAITING:
                # Somebody may have cancelled the job that probes; while it lives there is no second.
                self._have_probed(uow, endpoint)
            parcel = self._parcel(uow, turn.endpoint, turn.delivery, turn.until) if turn.until else None
            uow.commit()
        if turn.wait:
            raise RetryableError("It is not its turn yet.", retry_after=turn.wait)
        return parcel

    def _parcel(
        self,
        uow: UnitOfWork[EventsRepositories],
        endpoint: WebhookEndpoint,
        delivery: Delivery,
        until: datetime | None,
    ) -> _Parcel:
        if delivery.payload is None:
            raise PermanentError("The body of the delivery is no longer kept.")
        secrets = uow.repo.secrets.live(endpoint.workspace_id, endpoint.endpoint_id, self._clock.now())
        return _Parcel(endpoint, delivery, delivery.payload, tuple(secrets), until)

    def _send(self, parcel: _Parcel) -> Exchange:
        signed = signing.headers(
            self._keys(parcel.secrets), str(parcel.delivery.event_id), self._clock.now(), parcel.body
        )
        return self._sender.send(parcel.endpoint.url, _CONTENT | signed, parcel.body)

    def _record(self, parcel: _Parcel, exchange: Exchange, *, probe: bool) -> Conclusion | None:
        """Write down what came of an attempt, and do what follows from it; None: the endpoint is gone by now."""
        of = parcel.delivery
        with self._units(of.workspace_id) as uow:
            endpoint = uow.repo.endpoints.lock(of.workspace_id, of.endpoint_id)
            delivery = uow.repo.deliveries.lock(of.workspace_id, of.endpoint_id, of.delivery_id)
            if endpoint is None or delivery is None:
                return None
            came_of_it = conclude(
                endpoint if parcel.until is None else endpoint.called(parcel.until),
                delivery,
                exchange,
                round_number=of.round,
                probe=probe,
                now=self._clock.now(),
                chance=self._chance(),
            )
            uow.repo.endpoints.save_traffic(came_of_it.endpoint)
            uow.repo.deliveries.save(came_of_it.delivery)
            uow.repo.deliveries.add_attempt(came_of_it.delivery, exchange)
            self._follow(uow, came_of_it.endpoint, endpoint.health, exchange)
            uow.commit()
        return came_of_it

    def _follow(
        self, uow: UnitOfWork[EventsRepositories], endpoint: WebhookEndpoint, before: Health, exchange: Exchange
    ) -> None:
        """What a change of an endpoint's health brings with it."""
        health = endpoint.health
        if health.disabled and not before.disabled:
            self._deliveries.endpoint_changed(uow, endpoint)
            uow.emit(endpoint.name, news.disabled(endpoint, exchange.error))
            uow.enqueue(jobs.notify(endpoint))
        elif health.sends and not before.sends:
            self._deliveries.endpoint_changed(uow, endpoint)
            if before.disabled:
                uow.emit(endpoint.name, news.enabled(endpoint, before))
        if before.probe_time is None:
            self._have_probed(uow, endpoint)

    def _have_probed(self, uow: UnitOfWork[EventsRepositories], endpoint: WebhookEndpoint) -> None:
        health = endpoint.health
        if health.probe_time is not None and health.failing_since is not None:
            uow.enqueue(jobs.probe(endpoint, health.failing_since))

    def _until(self, at: datetime) -> timedelta:
        return max(at - self._clock.now(), timedelta(0))


def _workspace(attempt: Attempt) -> UUID:
    if attempt.workspace_id is None:
        raise PermanentError("An endpoint belongs to a workspace.")
    return attempt.workspace_id
