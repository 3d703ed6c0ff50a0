"""What becomes of a delivery and its endpoint, before an attempt and after it: decisions without I/O."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.events.model.attempts import Exchange, Failure
from services.events.model.deliveries import ENDPOINT_DISABLED, Delivery, DeliveryState, DeliveryTrigger
from services.events.model.endpoints import WebhookEndpoint
from services.events.model.rate import reserve
from services.events.model.schedule import retry_delay

_NO_WAIT = timedelta(0)
# Who finds its endpoint busy looks again after a moment, or behind all others that wait.
_MOMENT = timedelta(seconds=1)
# Longer than a call takes (`sender.TIMEOUT`): by then its worker has died, or it has been told how it ended.
_CALL = timedelta(seconds=30)
# With these a receiver asks for fewer calls altogether (Standard Webhooks, "Delivery success and failure").
_THROTTLING = (429, 503)


@dataclass(frozen=True, slots=True)
class Turn:
    """Both as they are then, and how long the delivery is to `wait`, if it has to.

    One that goes out now is a call under way, for the endpoint, until it has ended, and no longer than `until`.
    """

    endpoint: WebhookEndpoint
    delivery: Delivery
    until: datetime | None = None
    wait: timedelta = _NO_WAIT


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Both as an attempt left them; `retry_time` is when the delivery is due again, None: not of itself."""

    endpoint: WebhookEndpoint
    delivery: Delivery
    retry_time: datetime | None = None


def take_turn(endpoint: WebhookEndpoint, delivery: Delivery, now: datetime) -> Turn:
    """Whether a delivery may go out: at its time, at its endpoint's pace, and while that is well and not busy.

    A test goes out at once, to any endpoint that is not disabled.
    """
    if delivery.state is not DeliveryState.PENDING:
        return Turn(endpoint, delivery)
    if endpoint.health.disabled:
        return Turn(endpoint, delivery.cancelled(now, ENDPOINT_DISABLED))
    if delivery.trigger is DeliveryTrigger.TEST:
        return _going(endpoint, delivery, now)
    if not endpoint.health.sends:
        return Turn(endpoint, delivery.waiting())
    due = delivery.reserved_time or delivery.next_attempt_time
    if due is not None and due > now:
        return Turn(endpoint, delivery, wait=due - now)
    busy = endpoint.busy(now)
    if delivery.reserved_time is not None and not busy:
        return _going(endpoint, delivery, now)
    slot = reserve(endpoint.next_send_time, endpoint.max_per_second, now)
    paced = replace(endpoint, next_send_time=slot.next_time)
    at = max(slot.at, now + _MOMENT) if busy else slot.at
    if at <= now:
        return _going(paced, delivery, now)
    return Turn(paced, delivery.reserved(at), wait=at - now)


def conclude(
    endpoint: WebhookEndpoint,
    delivery: Delivery,
    exchange: Exchange,
    *,
    round_number: int,
    probe: bool,
    now: datetime,
    chance: float,
) -> Conclusion:
    """What an attempt that was begun in a round means for its delivery and endpoint, as they are by now.

    `chance` is a random number of [0, 1). Another round may have begun meanwhile: that one's attempts are its own. A
    delivery that was cancelled stays so, unless it has arrived.
    """
    current = delivery.round == round_number
    counted = delivery.attempted(exchange.error) if current else delivery.attempted_late()
    if exchange.failure is None:
        well = replace(endpoint, health=endpoint.health.after_success(), last_success_time=now)
        return Conclusion(well, counted.ended(DeliveryState.DELIVERED, now) if current else counted)

    delay = _delay(counted, exchange, chance) if current else None
    if exchange.failure is Failure.GONE:
        health = endpoint.health.after_gone(now)
    else:
        given_up = current and delay is None and not probe and delivery.trigger is not DeliveryTrigger.TEST
        health = endpoint.health.after_failure(now, chance, probe=probe, given_up=given_up)
    ill = replace(
        endpoint,
        health=health,
        last_failure_time=now,
        next_send_time=_throttled(endpoint.next_send_time, exchange, now),
    )
    if not current or not delivery.state.open:
        return Conclusion(ill, delivery.attempted_late())
    if health.disabled:
        return Conclusion(ill, counted.ended(DeliveryState.FAILED, now))
    if probe:
        return Conclusion(ill, counted)
    if delay is None:
        return Conclusion(ill, counted.ended(DeliveryState.FAILED, now))
    if not health.sends:
        return Conclusion(ill, counted.waiting())
    return Conclusion(ill, counted.due(now + delay), now + delay)


def _going(endpoint: WebhookEndpoint, delivery: Delivery, now: datetime) -> Turn:
    until = now + _CALL
    return Turn(endpoint.calling(now, until), delivery, until=until)


def _delay(counted: Delivery, exchange: Exchange, chance: float) -> timedelta | None:
    """How long until the next attempt; None: there is none. A test is sent once."""
    if counted.trigger is DeliveryTrigger.TEST or exchange.failure is Failure.GONE:
        return None
    return retry_delay(counted.round_attempts, exchange.retry_after, chance)


def _throttled(next_send_time: datetime | None, exchange: Exchange, now: datetime) -> datetime | None:
    if exchange.status not in _THROTTLING or exchange.retry_after is None:
        return next_send_time
    return max(next_send_time or now, now + exchange.retry_after)
