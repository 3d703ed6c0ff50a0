"""The health of an endpoint: a circuit breaker that ends, after five days of failures, in the endpoint being disabled.

    active --failure--> failing --10 failures, or a delivery given up--> probing --5 days without a success--> disabled
       ^                   |                                                |                                     |
       +-----success-------+---------------success of a probe---------------+-------success of a probe------------+

While it is *probing* the circuit is half open: one delivery at a time goes out, as a probe, and the others wait without
using up their attempts. Who was disabled for failures is still probed twice a day for a month. An endpoint that
answered 410 Gone, or was disabled by hand, is left alone until somebody enables it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

DISABLED_AFTER = timedelta(days=5)
FAILURES_UNTIL_PROBING = 10
PROBED_WHILE_DISABLED = timedelta(days=30)
_FIRST_PROBE = timedelta(seconds=5)
_MAX_PROBE_DELAY = timedelta(hours=1)
_PROBE_DELAY_WHILE_DISABLED = timedelta(hours=12)
_JITTER = 0.2


class HealthState(StrEnum):
    """How an endpoint is doing, and so what is sent to it."""

    ACTIVE = "active"
    FAILING = "failing"
    PROBING = "probing"
    DISABLED = "disabled"


class DisableReason(StrEnum):
    """Why an endpoint is sent nothing."""

    MANUAL = "manual"
    GONE = "gone"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Health:
    """The state, and what it was concluded from.

    `failures` is how many attempts have failed since the last success, the first of them at `failing_since`; `probes`
    how many of them were probes. The next probe is due at `probe_time`; None: there is none.
    """

    state: HealthState = HealthState.ACTIVE
    failures: int = 0
    failing_since: datetime | None = None
    probes: int = 0
    probe_time: datetime | None = None
    disable_time: datetime | None = None
    disable_reason: DisableReason | None = None

    @property
    def sends(self) -> bool:
        """Whether deliveries go out as they come."""
        return self.state in (HealthState.ACTIVE, HealthState.FAILING)

    @property
    def disabled(self) -> bool:
        """Whether it is sent nothing but, perhaps, a probe."""
        return self.state is HealthState.DISABLED

    def after_success(self) -> Self:
        """After an attempt that the endpoint accepted. One that was disabled on purpose stays so."""
        if self.state is HealthState.ACTIVE or self.disable_reason in (DisableReason.GONE, DisableReason.MANUAL):
            return self
        return type(self)()

    def after_failure(self, now: datetime, chance: float, *, probe: bool = False, given_up: bool = False) -> Self:
        """After an attempt that failed.

        `probe`: the attempt was one. `given_up`: it was the last of its delivery. `chance` is a random number of [0, 1)
        that spreads the probes of many endpoints.
        """
        if self.state is HealthState.DISABLED:
            return self._probed_in_vain(now, chance) if probe else self
        failures, since = self.failures + 1, self.failing_since or now
        probes = self.probes + 1 if probe else self.probes
        if now - since >= DISABLED_AFTER:
            due = now + _PROBE_DELAY_WHILE_DISABLED * _spread(chance)
            return type(self)(
                HealthState.DISABLED,
                failures,
                since,
                probes,
                due,
                disable_time=now,
                disable_reason=DisableReason.FAILING,
            )
        if self.state is HealthState.PROBING:
            due_time = _probe_time(now, probes, chance) if probe else self.probe_time
            return type(self)(HealthState.PROBING, failures, since, probes, due_time)
        if given_up or failures >= FAILURES_UNTIL_PROBING:
            return type(self)(HealthState.PROBING, failures, since, 0, _probe_time(now, 0, chance))
        return type(self)(HealthState.FAILING, failures, since)

    def after_gone(self, now: datetime) -> Self:
        """After the answer 410 Gone: the endpoint wants nothing more."""
        return self if self.disabled and self.probe_time is None else self._disabled(now, DisableReason.GONE)

    def enabled(self) -> Self:
        """Enabled by hand, or given all that waits while it is probed: with a clean slate; else the same one."""
        return self if self.sends else type(self)()

    def disabled_by_hand(self, now: datetime) -> Self:
        """Disabled by hand; the same one when it is so already. One that failed is then probed no more."""
        return self if self.disabled and self.probe_time is None else self._disabled(now, DisableReason.MANUAL)

    def _disabled(self, now: datetime, reason: DisableReason) -> Self:
        return replace(
            self,
            state=HealthState.DISABLED,
            probe_time=None,
            disable_time=self.disable_time or now,
            disable_reason=reason,
        )

    def _probed_in_vain(self, now: datetime, chance: float) -> Self:
        if self.probe_time is None or self.disable_time is None:
            return self
        due = now + _PROBE_DELAY_WHILE_DISABLED * _spread(chance)
        ended = due > self.disable_time + PROBED_WHILE_DISABLED
        return replace(self, failures=self.failures + 1, probes=self.probes + 1, probe_time=None if ended else due)


def _probe_time(now: datetime, probes: int, chance: float) -> datetime:
    # Beyond 2^16 the cap holds anyway.
    return now + min(_FIRST_PROBE * (1 << min(probes, 16)), _MAX_PROBE_DELAY) * _spread(chance)


def _spread(chance: float) -> float:
    return 1 + _JITTER * chance
