"""What a process asks of embedders, counted for Prometheus."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from prometheus_client import Counter
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.search.embedders.port import ProviderRefused, ProviderUnavailable
from services.search.model.index import EmbedderKind

T = TypeVar("T")


class EmbedderReport(Collector):
    """Counts calls by embedder and outcome (`ok`, `unavailable`, `refused`), and the time that they took."""

    def __init__(self) -> None:
        self._calls = Counter("plinth_embedder_calls", "Calls of embedders.", ("embedder", "outcome"), registry=None)
        self._seconds = Counter("plinth_embedder_seconds", "Time spent in them.", ("embedder",), registry=None)

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        yield from self._calls.collect()
        yield from self._seconds.collect()

    def count(self, kind: EmbedderKind, call: Callable[[], T]) -> T:
        """The call's answer, counted. Raises what it raises."""
        began, outcome = time.perf_counter(), "ok"
        try:
            return call()
        except ProviderUnavailable:
            outcome = "unavailable"
            raise
        except ProviderRefused:
            outcome = "refused"
            raise
        finally:
            self._calls.labels(kind.value, outcome).inc()
            self._seconds.labels(kind.value).inc(time.perf_counter() - began)
