"""Deliveries: one event on its way to one endpoint, and the rounds of attempts that it takes."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from services.events.model.attempts import Exchange
from services.events.model.names import DELIVERY

ENDPOINT_DISABLED = "The endpoint was disabled."
JOB_CANCELLED = "Its job was cancelled."


class DeliveryState(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"  # a job sends it at its time
    WAITING = "waiting"  # its endpoint is being probed
    DELIVERED = "delivered"
    FAILED = "failed"  # its round of attempts is used up
    CANCELLED = "cancelled"  # its endpoint was disabled, or its job cancelled, before it arrived

    @property
    def open(self) -> bool:
        """Whether it may still be sent without anybody asking for it."""
        return self in (DeliveryState.PENDING, DeliveryState.WAITING)


class DeliveryTrigger(StrEnum):
    """What made a delivery, or opened it again."""

    EVENT = "event"
    REPLAY = "replay"
    RECOVERY = "recovery"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as it lies in its table.

    A round is a row of attempts after the schedule; `round` counts them, `round_attempts` the attempts of the present
    one, `attempt_count` all. `reserved_time` is the slot that the endpoint's rate limit has given the next attempt.
    `last_error` tells why it has not arrived.
    `payload` is the body, CloudEvents JSON; None: it is no longer kept, or was not asked for.
    """

    workspace_id: UUID
    endpoint_id: UUID
    delivery_id: UUID
    event_id: UUID
    event_type: str
    trigger: DeliveryTrigger
    state: DeliveryState
    attempt_count: int
    round: int
    round_attempts: int
    next_attempt_time: datetime | None
    reserved_time: datetime | None
    payload: bytes | None
    last_error: str
    create_time: datetime
    end_time: datetime | None

    @property
    def name(self) -> str:
        """The resource name."""
        return DELIVERY.format(
            workspace=self.workspace_id, webhook_endpoint=self.endpoint_id, delivery=self.delivery_id
        )

    def reserved(self, at: datetime) -> Self:
        """With the slot for its next attempt."""
        return replace(self, reserved_time=at, next_attempt_time=at)

    def attempted(self, error: str) -> Self:
        """After one more attempt, whatever came of it."""
        return replace(
            self,
            attempt_count=self.attempt_count + 1,
            round_attempts=self.round_attempts + 1,
            reserved_time=None,
            last_error=error,
        )

    def attempted_late(self) -> Self:
        """After an attempt that changes nothing any more: its round had ended by then."""
        return replace(self, attempt_count=self.attempt_count + 1)

    def due(self, at: datetime) -> Self:
        """Pending until then."""
        return replace(self, state=DeliveryState.PENDING, next_attempt_time=at, end_time=None)

    def waiting(self) -> Self:
        """Waiting until its endpoint is well again."""
        return replace(self, state=DeliveryState.WAITING, next_attempt_time=None, reserved_time=None)

    def ended(self, state: DeliveryState, now: datetime) -> Self:
        """At the end of its round."""
        return replace(self, state=state, next_attempt_time=None, reserved_time=None, end_time=now)

    def cancelled(self, now: datetime, why: str) -> Self:
        """Not sent any more."""
        return replace(self.ended(DeliveryState.CANCELLED, now), last_error=why)

    def repeated(self, now: datetime) -> Self:
        """Due now, with all the attempts of its round before it."""
        return replace(self.due(now), round_attempts=0, reserved_time=None, last_error="")

    def reopened(self, now: datetime) -> Self:
        """Due now, in a new round: jobs of the old one do nothing any more."""
        return replace(self.repeated(now), round=self.round + 1)


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """An attempt of a delivery; the first has the number 1."""

    delivery_id: UUID
    number: int
    exchange: Exchange
