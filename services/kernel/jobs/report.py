"""What a worker says of its attempts: a line of the access log each, and counters for Prometheus."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.kernel.jobs.model import JobState
from services.kernel.jobs.run import Ran
from services.kernel.telemetry import LineWriter, describe

REFUSED = "refused"
RETRIED = "retried"
GIVEN_BACK = "given_back"


class Report(Collector):
    """Written by the worker's settler, and read by the scrape. `in_hand` counts the jobs that the worker holds."""

    def __init__(self, writer: LineWriter | None, in_hand: Callable[[], int]) -> None:
        self._writer = writer
        self._in_hand = in_hand
        self._lock = threading.Lock()
        self._attempts: Counter[tuple[str, str, str]] = Counter()
        self._seconds: defaultdict[tuple[str, str], float] = defaultdict(float)

    def ended(self, attempts: Sequence[tuple[Ran, JobState | None]]) -> None:
        """Attempts ended, and their jobs are in these states now; None where the fence was old."""
        lines = []
        with self._lock:
            for ran, state in attempts:
                outcome = _outcome(ran, state)
                self._attempts[ran.attempt.queue, ran.attempt.kind, outcome] += 1
                self._seconds[ran.attempt.queue, ran.attempt.kind] += ran.seconds
                lines.append((ran, outcome))
        if self._writer is not None:
            for ran, outcome in lines:
                self._writer.write(_line(ran, outcome))

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        attempts = CounterMetricFamily(
            "plinth_job_attempts", "Attempts at jobs that have ended.", labels=("queue", "kind", "outcome")
        )
        seconds = CounterMetricFamily("plinth_job_seconds", "Time spent in handlers.", labels=("queue", "kind"))
        with self._lock:
            for attempt_key, count in self._attempts.items():
                attempts.add_metric(attempt_key, count)
            for seconds_key, total in self._seconds.items():
                seconds.add_metric(seconds_key, total)
        yield attempts
        yield seconds
        yield GaugeMetricFamily("plinth_job_in_hand", "Jobs that this worker holds.", value=self._in_hand())


def _outcome(ran: Ran, state: JobState | None) -> str:
    if state is None:
        return REFUSED
    if state is JobState.ARRIVED:
        return RETRIED if ran.settlement is not None and ran.settlement.counted else GIVEN_BACK
    return state


def _line(ran: Ran, outcome: str) -> dict[str, object]:
    attempt = ran.attempt
    line: dict[str, object] = {
        "time": ran.began,
        "level": "info",
        "event": "job",
        "queue": attempt.queue,
        "kind": attempt.kind,
        "job": attempt.job_id,
        "workspace": attempt.workspace_id,
        "attempt": attempt.number,
        "outcome": outcome,
        "waited_ms": round((ran.began - attempt.run_time).total_seconds() * 1e3, 1),
        "duration_ms": round(ran.seconds * 1e3, 2),
        "trace_id": ran.trace_id,
    }
    if ran.error is not None:
        line |= {"level": "warning", "error": describe(ran.error)}
    if ran.settlement is not None and ran.settlement.run_time is not None:
        line["next_attempt"] = ran.settlement.run_time
    return line
