"""Stage `metrics`: how many calls, with which code, how long; counted before auth, so refusals count too.

Each thread counts for itself, without a lock, and the collector adds them up when it is scraped: the lock of a shared
counter costs more than the rest of this stage.
"""

import bisect
import threading
import time
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from interceptors.call import CODE_NAMES, Call
from interceptors.stages import Stage

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 60.0, 600.0)
_LABELS = ("service", "method", "code")


class _Series:
    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0


class Metrics(Stage, Collector):
    """Counts calls by service, method and code."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._all: list[dict[tuple[str, str, int], _Series]] = []
        self._lock = threading.Lock()
        self._begun: list[list[int]] = []

    def enter(self, call: Call) -> None:
        """One more under way."""
        self._counts()[0] += 1

    def leave(self, call: Call) -> None:
        """One more done."""
        seconds = time.perf_counter() - call.started
        counts = self._counts()
        counts[1] += 1
        key = (call.policy.service, call.policy.method, call.code)
        table = self._local.table
        series = table.get(key)
        if series is None:
            series = table[key] = _Series()
        series.buckets[bisect.bisect_left(_BOUNDS, seconds)] += 1
        series.total += seconds

    def collect(self) -> Iterator[Metric]:
        """For Prometheus: the sum over all threads."""
        family = HistogramMetricFamily(
            "plinth_rpc_duration_seconds", "Time from arrival to answer of each RPC.", labels=_LABELS
        )
        sums: dict[tuple[str, str, int], _Series] = {}
        for table in list(self._all):
            for key, series in list(table.items()):
                total = sums.setdefault(key, _Series())
                total.total += series.total
                total.buckets = [a + b for a, b in zip(total.buckets, series.buckets, strict=True)]
        for (service, method, code), series in sums.items():
            running, buckets = 0, []
            for bound, count in zip((*map(str, _BOUNDS), "+Inf"), series.buckets, strict=True):
                running += count
                buckets.append((bound, float(running)))
            family.add_metric((service, method, CODE_NAMES[code]), buckets, series.total)
        yield family
        under_way = sum(begun - done for begun, done in list(self._begun))
        yield GaugeMetricFamily("plinth_rpc_in_flight", "RPCs under way.", value=under_way)

    def _counts(self) -> list[int]:
        try:
            counts: list[int] = self._local.counts
        except AttributeError:
            counts = self._local.counts = [0, 0]
            self._local.table = {}
            with self._lock:
                self._all.append(self._local.table)
                self._begun.append(counts)
        return counts
