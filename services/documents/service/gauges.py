"""How things stand in documents, over all workspaces, for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.documents.model.ingestions import IngestionState
from services.documents.service.units import DocumentsUnits
from services.kernel.clock import Clock
from services.kernel.fresh import Fresh

# What has ended otherwise is no state of things, but history.
_TOLD = [state for state in IngestionState if not state.ended or state is IngestionState.DEAD]


class DocumentsGauges(Collector):
    """Counts ingestions, blobs that are to go, and what is stored; one process of a mesh is enough to ask."""

    def __init__(self, units: DocumentsUnits, clock: Clock) -> None:
        self._units = units
        self._clock = clock
        # Counting reads every ingestion under way.
        self._metrics = Fresh(lambda: list(self._ask()))

    def collect(self) -> Iterator[Metric]:
        """For Prometheus; nothing while the database is out of reach."""
        yield from self._metrics.get() or ()

    def _ask(self) -> Iterator[Metric]:
        with self._units.system() as uow:
            totals = uow.repo.totals
            counts, doomed, writing, stored = totals.ingestions(), totals.doomed(), totals.writing(), totals.stored()
        ingestions = GaugeMetricFamily(
            "plinth_ingestions",
            "Ingestions that are under way or wait, and those that were given up.",
            labels=("state",),
        )
        for state in _TOLD:
            ingestions.add_metric((state.value,), counts.get(state, 0))
        yield ingestions
        blobs = GaugeMetricFamily("plinth_blobs", "Blobs that are being written, or to be deleted.", labels=("state",))
        blobs.add_metric(("writing",), writing.count)
        blobs.add_metric(("doomed",), doomed)
        yield blobs
        age = (self._clock.now() - writing.since).total_seconds() if writing.since is not None else 0.0
        yield GaugeMetricFamily(
            "plinth_blobs_writing_oldest_seconds", "The age of the oldest blob that nobody has kept.", value=age
        )
        yield GaugeMetricFamily("plinth_documents", "Documents of all workspaces.", value=stored.documents)
        yield GaugeMetricFamily("plinth_stored_bytes", "What counts as stored.", value=float(stored.stored_bytes))
