"""How full the queues are, for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.kernel.clock import Clock
from services.kernel.db import Database
from services.kernel.fresh import Fresh
from services.kernel.jobs import repository
from services.kernel.jobs.gate import SYSTEM
from services.kernel.jobs.repository import QueueCounts


class QueueGauges(Collector):
    """Counts the jobs of each queue; one worker of a mesh is enough to ask."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # Counting reads every job.
        self._counts = Fresh(self._count)

    def collect(self) -> Iterator[Metric]:
        """For Prometheus; nothing while the database is out of reach."""
        counts = self._counts.get()
        if counts is None:
            return
        families = {
            name: GaugeMetricFamily(f"plinth_jobs_{name}", text, labels=("queue",))
            for name, text in (
                ("ready", "Jobs that could run now."),
                ("running", "Jobs that a worker has."),
                ("scheduled", "Jobs whose time has not come."),
                ("dead", "Jobs that were given up."),
                ("oldest_seconds", "How long the oldest job that could run has waited."),
            )
        }
        now = self._clock.now()
        for one in counts:
            families["ready"].add_metric((one.queue,), one.ready)
            families["running"].add_metric((one.queue,), one.running)
            families["scheduled"].add_metric((one.queue,), one.scheduled)
            families["dead"].add_metric((one.queue,), one.dead)
            age = (now - one.oldest).total_seconds() if one.oldest is not None else 0.0
            families["oldest_seconds"].add_metric((one.queue,), age)
        yield from families.values()

    def _count(self) -> list[QueueCounts]:
        with self._database.transaction(SYSTEM) as session:
            return repository.counts(session, self._clock.now())
