"""Stage `quota`: how often a caller may call, and what a call is charged as."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import UUID

from interceptors.call import Call
from interceptors.ports import Quota
from interceptors.stages import Stage
from services.kernel.caller import Caller
from services.kernel.errors import ResourceExhausted

_MAX_BUCKETS = 100_000
_TRANSFER_RETRY = timedelta(seconds=1)


class RateLimited(ResourceExhausted):
    """The caller's token bucket for this class of calls is empty."""

    reason = "RATE_LIMITED"

    def __init__(self, rate_class: str, retry_after: timedelta) -> None:
        super().__init__("Too many calls; slow down.", retry_after=retry_after, rate_class=rate_class)


class TokenBuckets:
    """Token buckets: `rates` tokens a second for each class, `burst_seconds` of them at once."""

    def __init__(
        self, rates: Mapping[str, float], burst_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = dict(rates)
        self._burst_seconds = burst_seconds
        self._now = now
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, rate_class: str, key: str) -> timedelta | None:
        """Take a token; None when there was one, else how long until there is."""
        rate = self._rates[rate_class]
        full = max(1.0, rate * self._burst_seconds)
        now = self._now()
        with self._lock:
            level, then = self._buckets.get((rate_class, key), (full, now))
            level = min(full, level + (now - then) * rate)
            if level < 1:
                self._buckets[rate_class, key] = level, now
                return timedelta(seconds=(1 - level) / rate)
            if len(self._buckets) >= _MAX_BUCKETS:
                self._make_room(now)
            self._buckets[rate_class, key] = level - 1, now
        return None

    def _make_room(self, now: float) -> None:
        """A bucket that has had time to fill is as good as none. Where all are fresh, the oldest half gives way."""
        filled = {rate_class: max(self._burst_seconds, 1 / rate) for rate_class, rate in self._rates.items()}
        kept = [(key, state) for key, state in self._buckets.items() if now - state[1] < filled[key[0]]]
        # At least half goes, so that the next callers do not search all of them again.
        kept.sort(key=lambda entry: entry[1][1])
        self._buckets = dict(kept[-(_MAX_BUCKETS // 2) :])


class Unmetered:
    """The quota of a mesh without billing: counts nothing, refuses nothing."""

    def reserve(self, caller: Caller, meter: str, cost: int) -> Callable[[bool], None]:
        """Nothing to set aside."""
        del caller, meter, cost
        return _nothing


def _nothing(_: bool) -> None:
    pass


class Quotas(Stage):
    """Draws from the caller's bucket, and sets metered units aside until the call has ended.

    Of the transfers that there is room for, one workspace has `max_transfers` at once.
    """

    def __init__(self, buckets: TokenBuckets, quota: Quota, max_transfers: int) -> None:
        self._buckets = buckets
        self._quota = quota
        self._max_transfers = max_transfers
        self._transfers: Counter[UUID] = Counter()
        self._lock = threading.Lock()

    def enter(self, call: Call) -> None:
        """Raises RateLimited, or what the quota says."""
        if call.principal.service is not None:
            return
        policy = call.policy
        # Credentials are guessed by sources, and before anyone is known a source is all there is.
        by_source = policy.rate_class == "credentials" or call.principal.user_id is None
        key = call.source if by_source else call.principal.name
        wait = self._buckets.take(policy.rate_class, key)
        if wait is not None:
            raise RateLimited(policy.rate_class, wait)
        if policy.transfers and call.workspace_id is not None:
            self._begin_transfer(call, call.workspace_id)
        if policy.meter:
            call.extras["settle"] = self._quota.reserve(call.caller(), policy.meter, policy.cost)

    def leave(self, call: Call) -> None:
        """Charge what succeeded, give back the rest."""
        settle = call.extras.get("settle")
        if settle is not None:
            settle(call.error is None)
        workspace_id = call.extras.pop("transfer_of", None)
        if workspace_id is not None:
            with self._lock:
                self._transfers[workspace_id] -= 1
                if not self._transfers[workspace_id]:
                    del self._transfers[workspace_id]

    def _begin_transfer(self, call: Call, workspace_id: UUID) -> None:
        with self._lock:
            if self._transfers[workspace_id] >= self._max_transfers:
                raise RateLimited(call.policy.rate_class, _TRANSFER_RETRY)
            self._transfers[workspace_id] += 1
        call.extras["transfer_of"] = workspace_id
