"""How fast credentials may be guessed: delays that grow with failures, and no lock-out.

Failures are counted per factor in three dimensions. Every attempt answers for the *pair* of account and source. One
from a source that the account does not know answers for the *account* and the *source* too. So a person whose account
strangers attack still gets in from where they have signed in before, and from anywhere by a reset, which makes its
source known. One stranger cannot slow an account down for other sources: at the pace that the pair leaves them, the
account forgives as fast as they fail; only many sources at once can. NIST SP 800-63B §5.2.2, OWASP "device cookies".

A success clears the pair only: whoever owns one account could else wash the source clean while guessing at others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

_NO_DELAY = timedelta(0)


class Dimension(Enum):
    """Whose failures are counted together."""

    PAIR = "pair"
    ACCOUNT = "account"
    SOURCE = "source"


class Factor(Enum):
    """What is being tried. Each factor has its own counters, so that one cannot exhaust another."""

    PASSWORD = "password"  # noqa: S105  # the name of a factor
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Limit:
    """`free` failures cost nothing; each further one doubles the delay from `base` up to `cap`.

    One failure is forgiven for every `forgive` that passes.
    """

    free: int
    base: timedelta
    cap: timedelta
    forgive: timedelta


_CAP = timedelta(minutes=5)
LIMITS: Mapping[tuple[Factor, Dimension], Limit] = {
    (Factor.PASSWORD, Dimension.PAIR): Limit(5, timedelta(seconds=1), _CAP, timedelta(minutes=30)),
    (Factor.PASSWORD, Dimension.ACCOUNT): Limit(50, timedelta(seconds=1), _CAP, _CAP),
    # Whole companies share one address.
    (Factor.PASSWORD, Dimension.SOURCE): Limit(1000, timedelta(seconds=1), timedelta(minutes=1), timedelta(seconds=10)),
    # Not failures but mails to one address: nobody's inbox is flooded through us.
    (Factor.MAIL, Dimension.ACCOUNT): Limit(10, timedelta(minutes=1), timedelta(hours=1), timedelta(minutes=30)),
}


@dataclass(frozen=True, slots=True)
class Counter:
    """Failures that still count, as of the last one. They leak away steadily, so the level has a fraction."""

    level: float
    last_time: datetime


def remaining(counter: Counter | None, limit: Limit, now: datetime) -> float:
    """The failures that are not forgiven yet."""
    if counter is None:
        return 0.0
    return max(0.0, counter.level - max(now - counter.last_time, _NO_DELAY) / limit.forgive)


def delay(level: float, limit: Limit) -> timedelta:
    """How long after the last failure the next attempt has to wait; a failure counts until it is wholly forgiven."""
    failures = ceil(level)
    if failures < limit.free:
        return _NO_DELAY
    # Beyond 2^32 the cap holds anyway; the bound keeps the arithmetic small.
    doublings = min(failures - limit.free, 32)
    return min(limit.base * (1 << doublings), limit.cap)


def wait(counter: Counter | None, limit: Limit, now: datetime) -> timedelta:
    """How long an attempt made now has to wait; zero: it may go ahead."""
    if counter is None:
        return _NO_DELAY
    due = delay(remaining(counter, limit, now), limit)
    # A clock that went back, or another machine's that goes ahead, makes nobody wait longer than that.
    return min(due, max(_NO_DELAY, counter.last_time + due - now))


def failed(counter: Counter | None, limit: Limit, now: datetime) -> Counter:
    """The counter after one more failure."""
    return Counter(remaining(counter, limit, now) + 1, now)


def dimensions(*, known_source: bool) -> tuple[Dimension, ...]:
    """The dimensions that an attempt answers for; failures are counted in all of them."""
    return (Dimension.PAIR,) if known_source else tuple(Dimension)


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 that an IPv6 customer gets whole."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((parsed, 64), strict=False))
    return str(parsed)
