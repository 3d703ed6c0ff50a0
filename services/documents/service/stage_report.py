"""What a worker says of the stages of ingestions: counters for Prometheus."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from services.documents.model.ingestions import IngestionState
from services.documents.service.failures import failure_of
from services.documents.service.tenure import Superseded
from services.kernel.jobs import AttemptTimedOut, JobCancelled, LeaseLost

PASSED = "passed"
BROKEN_OFF = "broken_off"


class StageReport(Collector):
    """Counts each stage of each attempt by its outcome: `passed`, `broken_off`, or the reason that it failed for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, stage: IngestionState) -> Iterator[None]:
        """One attempt at a stage."""
        outcome, began = PASSED, time.perf_counter()
        try:
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
        yield stages
        yield seconds
