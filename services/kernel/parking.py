"""Events that a subscriber could not handle: kept as dead jobs, so that somebody sees, mends and requeues them."""

from collections.abc import Callable, Sequence
from typing import Any

from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.event_log import EventSource
from services.kernel.events import Event
from services.kernel.jobs import Attempt, DeadReason, JobHandler, NewJob, PermanentError, RetryableError, bury
from services.kernel.subscriptions import Subscription
from services.kernel.unit_of_work import UnitOfWork

QUEUE = "parked"


class Parking:
    """Where events are left."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def park(self, uow: UnitOfWork[Any], subscription: Subscription[Any], event: Event, error: str) -> None:
        """Leave a dead job in the commit that goes past the event. Its subject is what the event is about."""
        bury(
            uow.session,
            NewJob(
                QUEUE,
                kind_of(subscription),
                str(event.position).encode(),
                subject=event.subject,
                restricted=event.restricted,
            ),
            reason=DeadReason.ATTEMPTS_EXHAUSTED,
            error=error,
            workspace_id=event.workspace_id,
            caller=current_caller(),
            now=self._clock.now(),
        )


def parked_handlers(subscriptions: Sequence[Subscription[Any]], source: EventSource) -> list[JobHandler]:
    """One for each subscriber; an event whose job is requeued is handled once more, out of its order."""
    return [JobHandler(kind_of(one), QUEUE, _again(one, source)) for one in subscriptions]


def kind_of(subscription: Subscription[Any]) -> str:
    """The kind of the jobs that its parked events are kept as."""
    return f"{subscription.name}.parked"


def _again(subscription: Subscription[Any], source: EventSource) -> Callable[[Attempt], None]:
    def run(attempt: Attempt) -> None:
        position = int(attempt.payload)
        found = source.read(position - 1, 1, workspace_id=attempt.workspace_id)
        if not found or found[0].position != position:
            raise PermanentError(f"event {position} is not in the log")
        try:
            handle(found[0])
        except Exception as error:
            if not found[0].restricted:
                raise
            # The error is kept with the job, see `hand_over`.
            raise RetryableError(type(error).__name__) from error

    def handle(event: Event) -> None:
        units = subscription.units
        with units(event.workspace_id) if event.workspace_id is not None else units.system() as uow:
            subscription.handle(uow, event)
            uow.commit()

    return run
