"""What happens to a worker between two commits, where it calls `check`: it is killed, or others do something."""

from collections.abc import Callable

from services.kernel.jobs import Check


class Killed(Exception):
    """The worker is killed."""


def killed_after(steps: int, work: Callable[[Check], object]) -> bool:
    """Whether the worker was killed after so many steps; it may have been done before."""
    left = iter(range(steps))

    def check() -> None:
        if next(left, None) is None:
            raise Killed

    try:
        work(check)
    except Killed:
        return True
    return False


def once(do: Callable[[], object]) -> Check:
    """Does it when it is called first."""
    calls = iter([do])

    def check() -> None:
        for call in calls:
            call()

    return check
