"""What a worker says of the stages of ingestions: counters for Prometheus, and spans of a trace."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry.trace import Tracer
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.documents.model.ingestions import IngestionState
from services.documents.service.failures import failure_of
from services.documents.service.tenure import Superseded
from services.kernel.jobs import AttemptTimedOut, JobCancelled, LeaseLost
from services.kernel.spans import child_span

PASSED = "passed"
BROKEN_OFF = "broken_off"


class StageReport(Collector):
    """Counts each stage of each attempt by its outcome: `passed`, `broken_off`, or the reason that it failed for.

    `parsers` tells how many of the worker's places at its parsers are taken, and how many files wait for one.
    """

    def __init__(self, parsers: Callable[[], tuple[int, int]], tracer: Tracer | None = None) -> None:
        self._parsers = parsers
        self._tracer = tracer
        self._lock = threading.Lock()
        self._stages: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._pages = 0
        self._bytes = 0

    @contextmanager
    def stage(self, stage: IngestionState) -> Iterator[None]:
        """One attempt at a stage."""
        outcome, began = PASSED, time.perf_counter()
        try:
            with child_span(self._tracer, f"ingestion {stage.value}"):
                yield
        except (Superseded, JobCancelled, LeaseLost, AttemptTimedOut):
            outcome = BROKEN_OFF
            raise
        except Exception as error:
            outcome = failure_of(error).reason.value
            raise
        finally:
            with self._lock:
                self._stages[stage.value, outcome] += 1
                self._seconds[stage.value] += time.perf_counter() - began

    def indexed(self, pages: int, size_bytes: int) -> None:
        """A version can be found."""
        with self._lock:
            self._pages += pages
            self._bytes += size_bytes

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        stages = CounterMetricFamily(
            "plinth_ingestion_stages", "Attempts at stages of ingestions.", labels=("stage", "outcome")
        )
        seconds = CounterMetricFamily("plinth_ingestion_seconds", "Time spent in stages.", labels=("stage",))
        with self._lock:
            for key, count in self._stages.items():
                stages.add_metric(key, count)
            for stage, total in self._seconds.items():
                seconds.add_metric((stage,), total)
            pages, size_bytes = self._pages, self._bytes
        yield stages
        yield seconds
        yield CounterMetricFamily("plinth_ingested_pages", "Pages of what became findable.", value=pages)
        yield CounterMetricFamily("plinth_ingested_bytes", "Bytes of what became findable.", value=size_bytes)
        busy, waiting = self._parsers()
        yield GaugeMetricFamily("plinth_parsers_busy", "Places at this worker's parsers that are taken.", value=busy)
        yield GaugeMetricFamily("plinth_parsers_waiting", "Files that wait for one.", value=waiting)
