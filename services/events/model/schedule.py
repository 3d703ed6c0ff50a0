"""When a failed delivery is tried again: Svix's schedule, spread out, and what the receiver asks for."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# After the first attempt, the second and so on; the eighth attempt is the last, 27.6 hours after the first.
DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
MAX_ATTEMPTS = len(DELAYS) + 1
# An endpoint may ask for more patience than the schedule has, but it must not hold back its deliveries for ever.
MAX_RETRY_AFTER = timedelta(hours=24)
_JITTER = 0.2
_SECONDS = re.compile(r"[0-9]+")


def retry_delay(attempts: int, retry_after: timedelta | None, chance: float) -> timedelta | None:
    """How long to wait after so many failed attempts; None: that was the last.

    `chance` is a random number of [0, 1): it lengthens the wait by up to a fifth, so that deliveries that failed
    together do not come back together. `retry_after` is what the receiver asked for, and only ever lengthens it.
    """
    if attempts < 1:
        raise ValueError("a delay follows an attempt")
    if attempts >= MAX_ATTEMPTS:
        return None
    asked = min(retry_after or timedelta(0), MAX_RETRY_AFTER)
    return max(DELAYS[attempts - 1], asked) * (1 + _JITTER * chance)


def parse_retry_after(value: str, now: datetime) -> timedelta | None:
    """A Retry-After header (RFC 9110 §10.2.3), seconds or a date; None: not one. Never negative, at most 24 hours."""
    value = value.strip()
    if _SECONDS.fullmatch(value):
        # As a float, which is infinite where an int has more digits than Python reads.
        return timedelta(seconds=min(float(value), MAX_RETRY_AFTER.total_seconds()))
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(at - now, timedelta(0)), MAX_RETRY_AFTER)
