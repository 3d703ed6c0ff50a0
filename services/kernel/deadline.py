"""The deadline of the call under way, so that whatever waits below it waits no longer."""

import time
from contextvars import ContextVar, Token

from services.kernel.errors import CallDeadlineExceeded

_deadline: ContextVar[float | None] = ContextVar("plinth_deadline", default=None)


def set_deadline(deadline: float | None) -> Token[float | None]:
    """Begin a call that must end by then (monotonic seconds; None: whenever); the token goes to `reset_deadline`."""
    return _deadline.set(deadline)


def reset_deadline(token: Token[float | None]) -> None:
    """Forget the deadline that `set_deadline` began."""
    _deadline.reset(token)


def seconds_left(at_most: float) -> float:
    """Seconds until the deadline, but no more than `at_most`. Raises CallDeadlineExceeded when it has passed."""
    deadline = _deadline.get()
    if deadline is None:
        return at_most
    left = deadline - time.monotonic()
    if left <= 0:
        raise CallDeadlineExceeded
    return min(left, at_most)


def check_deadline() -> None:
    """Long work calls it now and then. Raises CallDeadlineExceeded when the deadline has passed."""
    seconds_left(0.0)
