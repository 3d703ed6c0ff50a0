"""What a process says of its searches, for Prometheus."""

from collections.abc import Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.search.model.hits import Mode

_BOUNDS = (0.005, 0.01, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.5, 10.0)


class SearchReport(Collector):
    """How long searches take by the mode that answered, and how many segments of postings they had to look at."""

    def __init__(self) -> None:
        self._seconds = Histogram(
            "plinth_search_seconds", "Time to find a page of hits.", ("mode",), buckets=_BOUNDS, registry=None
        )
        self._segments = Counter("plinth_search_segments", "Segments that searches looked at.", registry=None)

    def searched(self, mode: Mode, seconds: float, segments: int) -> None:
        """One search was answered."""
        self._seconds.labels(mode.value).observe(seconds)
        self._segments.inc(segments)

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        yield from self._seconds.collect()
        yield from self._segments.collect()
