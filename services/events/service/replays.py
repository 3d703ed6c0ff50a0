"""Replays and recoveries: a durable job that goes through a workspace's log in batches, and saves how far it came."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from services.events.model.deliveries import DeliveryTrigger
from services.events.model.endpoints import WebhookEndpoint
from services.events.model.filters import matches
from services.events.model.jobs import job_name
from services.events.model.replays import Replay
from services.events.service.units import EventsUnitOfWork, EventsUnits
from services.events.webhooks import news
from services.events.webhooks.deliveries import Deliveries
from services.kernel.clock import Clock
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.jobs import Attempt, JobHandler, NewJob, PermanentError, RetryableError
from services.kernel.parking import Parking
from services.kernel.subscriptions import Effect, Subscription, hand_over, on_behalf

QUEUE = "events"
KIND = "events.replay"
_BATCH = 200
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_TIMEOUT = timedelta(hours=6)
# As long as its row is kept: who began it may look what became of it.
KEPT = timedelta(days=30)

Subscriptions = Callable[[], Sequence[Subscription[Any]]]


class Replays:
    """Begins replays, and does them. `subscriptions` are those that the process knows: all, in a worker."""

    def __init__(self, units: EventsUnits, clock: Clock, deliveries: Deliveries, subscriptions: Subscriptions) -> None:
        self._units = units
        self._clock = clock
        self._deliveries = deliveries
        self._subscriptions = subscriptions
        self._park = Parking(clock).park

    def begin(
        self,
        uow: EventsUnitOfWork,
        workspace_id: UUID,
        target: WebhookEndpoint | str,
        trigger: DeliveryTrigger,
        since: datetime,
        until: datetime | None = None,
        types: tuple[str, ...] = (),
    ) -> str:
        """Enqueue a replay to an endpoint, or to the subscriber of that name, of all up to now; the name of its job."""
        endpoint = target if isinstance(target, WebhookEndpoint) else None
        replay = Replay(
            workspace_id=workspace_id,
            replay_id=new_id(),
            endpoint_id=endpoint.endpoint_id if endpoint is not None else None,
            subscriber="" if isinstance(target, WebhookEndpoint) else target,
            trigger=trigger,
            since=since,
            until=until or _END_OF_TIME,
            types=types,
            position=uow.repo.events.position_before(since),
            last_position=uow.repo.events.head(workspace_id),
            replayed=0,
            create_time=self._clock.now(),
        )
        uow.repo.replays.add(replay)
        subject = endpoint.name if endpoint is not None else ""
        job_id = uow.enqueue(NewJob(QUEUE, KIND, replay.replay_id.bytes, subject=subject))
        return job_name(workspace_id, job_id)

    def handler(self) -> JobHandler:
        """What a worker does these jobs with."""
        return JobHandler(KIND, QUEUE, self.run, timeout=_TIMEOUT, keep=KEPT)

    def run(self, attempt: Attempt) -> None:
        """Go on where the attempt before came to, until there is no more.

        Raises PermanentError where the endpoint is disabled, RetryableError where this worker does not run the
        subscriber, and what `attempt.check` raises.
        """
        replay_id = UUID(bytes=attempt.payload)
        workspace_id = attempt.workspace_id
        if workspace_id is None:
            raise PermanentError("A replay belongs to a workspace.")
        more = True
        while more:
            attempt.check()
            more = self._step(attempt, workspace_id, replay_id)

    def _step(self, attempt: Attempt, workspace_id: UUID, replay_id: UUID) -> bool:
        """The next batch; whether there may be more."""
        with self._units(workspace_id) as uow:
            replay = uow.repo.replays.lock(workspace_id, replay_id)
            # With its endpoint goes a replay.
            if replay is None:
                return False
            events = uow.repo.events.list_for(replay, _BATCH)
            if events and replay.endpoint_id is not None:
                replayed = self._deliver(uow, replay, replay.endpoint_id, events)
                uow.repo.replays.move(replay.after(events[-1].position, replayed))
                uow.commit()
        if events and replay.endpoint_id is None:
            replayed = self._hand_over(attempt, replay, events)
            with self._units(workspace_id) as uow:
                uow.repo.replays.move(replay.after(events[-1].position, replayed))
                uow.commit()
        return len(events) == _BATCH

    def _deliver(self, uow: EventsUnitOfWork, replay: Replay, endpoint_id: UUID, events: list[Event]) -> int:
        endpoint = uow.repo.endpoints.lock(replay.workspace_id, endpoint_id)
        if endpoint is None or endpoint.health.disabled:
            raise PermanentError("The webhook endpoint is disabled.")
        wanted = [event for event in events if event.type != news.TESTED and matches(endpoint.types, event.type)]
        return self._deliveries.redeliver(
            uow, endpoint, wanted, trigger=replay.trigger, missed_only=replay.trigger is DeliveryTrigger.RECOVERY
        )

    def _hand_over(self, attempt: Attempt, replay: Replay, events: list[Event]) -> int:
        """Let the subscriber handle a batch, and park what it cannot handle; how many events it did.

        They are commits of its own domain: a crash before the position is saved hands the batch over again.
        """
        found = [one for one in self._subscriptions() if one.name == replay.subscriber]
        if not found:
            raise RetryableError(f"This worker does not run {replay.subscriber}.")
        [subscription] = found
        wanted = [event for event in events if not subscription.types or event.type in subscription.types]
        if not wanted:
            return 0
        return hand_over(
            subscription,
            wanted,
            commit=partial(_commit, subscription, replay.workspace_id),
            pause=attempt.wait,
            park=self._park,
        )


def _commit(
    subscription: Subscription[Any],
    workspace_id: UUID,
    events: Sequence[Event],
    effect: Effect,
) -> None:
    """Have the effect of each event, on behalf of the subscriber, in one commit."""
    with subscription.units(workspace_id) as uow:
        for event in events:
            with on_behalf(subscription.domain, event):
                effect(uow, event)
        uow.commit()
