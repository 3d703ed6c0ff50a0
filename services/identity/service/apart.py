"""Work whose commit stands by itself, whatever becomes of the call that it is part of."""

import time
from collections.abc import Callable
from contextvars import Context
from typing import TypeVar

from services.kernel.caller import current_caller, set_caller
from services.kernel.deadline import seconds_left, set_deadline

T = TypeVar("T")

_LONGEST_SECONDS = 15.0


def apart(work: Callable[[], T]) -> T:
    """Run `work` for the same caller and deadline, but outside of the claim that the call's request_id holds.

    A call with a request_id commits once, with its answer, and not at all when it fails. A failed attempt must be
    counted all the same, or a request_id would buy free guesses.
    """
    caller, deadline = current_caller(), time.monotonic() + seconds_left(_LONGEST_SECONDS)

    def run() -> T:
        set_caller(caller)
        set_deadline(deadline)
        return work()

    # A context of its own, so there is nothing to reset.
    return Context().run(run)
