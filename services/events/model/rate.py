"""How fast one endpoint is called: the generic cell rate algorithm (ITU-T I.371), one timestamp an endpoint."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Slot:
    """When a call may go out, and the theoretical arrival time that the endpoint then keeps."""

    at: datetime
    next_time: datetime


def reserve(next_time: datetime | None, per_second: float, now: datetime) -> Slot:
    """The next free slot of an endpoint that takes `per_second` calls, a second's worth of which may come at once.

    `next_time` is what the last slot left behind (None: there was none). The slot is the caller's: whoever waits for it
    needs no other.
    """
    interval = timedelta(seconds=1 / per_second)
    burst = max(timedelta(seconds=1) - interval, timedelta(0))
    theoretical = max(next_time or now, now)
    return Slot(max(theoretical - burst, now), theoretical + interval)
