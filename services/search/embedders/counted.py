"""What a process asks of embedders, counted for Prometheus."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.search.embedders.port import Embedder, ProviderRefused, ProviderUnavailable
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


class Counted:
    """An embedder whose calls are counted."""

    def __init__(self, inner: Embedder, kind: EmbedderKind, report: EmbedderReport) -> None:
        self._inner = inner
        self._kind = kind
        self._report = report

    @property
    def name(self) -> str:
        """See Embedder."""
        return self._inner.name

    @property
    def dimensions(self) -> int:
        """See Embedder."""
        return self._inner.dimensions

    @property
    def max_batch(self) -> int:
        """See Embedder."""
        return self._inner.max_batch

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See Embedder."""
        return self._report.count(self._kind, lambda: self._inner.embed_texts(texts))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """See Embedder."""
        return self._report.count(self._kind, lambda: self._inner.embed_query(text))
