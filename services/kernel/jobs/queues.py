"""What a worker knows of the queues that it serves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.kernel.jobs import sleep
from services.kernel.jobs.attempt import JobHandler
from services.kernel.jobs.gate import Limits, Marks


@dataclass(slots=True)
class Queue:
    """One queue, as this worker knows it. `hot`: there may be something to claim. Times are monotonic seconds."""

    name: str
    limits: Limits
    marks: Marks = field(default_factory=Marks)
    hot: bool = True
    pause: float = sleep.FIRST_PAUSE
    look_at: float = 0.0
    row_until: float = 0.0
    streak: int = 0
    pass_at: float = 0.0

    def found(self, now: float, jobs: int, *, more: bool) -> None:
        """A claim brought so many jobs, and there may be more."""
        self.streak = self.streak + 1 if jobs else 0
        self.hot = more
        self.pause = sleep.FIRST_PAUSE if jobs else min(2 * self.pause, sleep.LONGEST_PAUSE)
        self.look_at = now + self.pause

    def wake(self) -> None:
        """Somebody said that there is something."""
        self.hot, self.pause = True, sleep.FIRST_PAUSE


def limits_of(handlers: Iterable[JobHandler]) -> dict[str, Limits]:
    """Of each queue: the least that a handler of it says."""
    limits: dict[str, Limits] = {}
    for handler in handlers:
        known = limits.get(handler.queue, Limits())
        limits[handler.queue] = replace(
            known,
            queue=_least(known.queue, handler.queue_limit),
            workspace=_least(known.workspace, handler.workspace_limit),
        )
    return limits


def _least(*numbers: int | None) -> int | None:
    given: Sequence[int] = [number for number in numbers if number is not None]
    return min(given, default=None)
