"""Replays: events of the past, delivered once more to one endpoint or one subscriber."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
from uuid import UUID

from services.events.model.deliveries import DeliveryTrigger


@dataclass(frozen=True, slots=True)
class Replay:
    """The events of a workspace with `since` ≤ time < `until`, up to `last_position` of the log.

    They go to the webhook endpoint, or to the subscriber of that name (empty where there is an endpoint). All up to
    `position` is done; `replayed` counts the events that went out. A recovery leaves out what has arrived.
    """

    workspace_id: UUID
    replay_id: UUID
    endpoint_id: UUID | None
    subscriber: str
    trigger: DeliveryTrigger
    since: datetime
    until: datetime
    types: tuple[str, ...]
    position: int
    last_position: int
    replayed: int
    create_time: datetime

    def after(self, position: int, replayed: int) -> Self:
        """The replay when it has come to this position, and so many more events have gone out."""
        return replace(self, position=position, replayed=self.replayed + replayed)
