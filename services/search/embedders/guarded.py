"""An embedder as the rest of search has it: counted, spared while it fails, and failing with search's own errors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from services.search.embedders.breaker import Breaker
from services.search.embedders.port import Embedder, ProviderRefused, ProviderUnavailable, TextRefused
from services.search.embedders.report import EmbedderReport
from services.search.errors import EmbedderRefused, EmbedderUnavailable
from services.search.model.index import EmbedderKind

_RETRY_AFTER = timedelta(seconds=5)


class GuardedEmbedder:
    """An embedder of a kind. Whoever waits for a query's vector is turned away at once while the breaker is open."""

    def __init__(self, inner: Embedder, kind: EmbedderKind, breaker: Breaker, report: EmbedderReport) -> None:
        self._inner = inner
        self._kind = kind
        self._breaker = breaker
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
        """See Embedder. Raises EmbedderUnavailable or EmbedderRefused."""
        with self._failing():
            return self._report.count(self._kind, lambda: self._inner.embed_texts(texts))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """See Embedder. Raises as `embed_texts` does."""
        # Who is turned away has called nobody.
        with self._failing(), self._breaker.trying():
            return self._report.count(self._kind, lambda: self._inner.embed_query(text))

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except ProviderUnavailable as error:
            raise EmbedderUnavailable(self._kind.wire_name, error.retry_after or _RETRY_AFTER) from error
        except ProviderRefused as error:
            raise EmbedderRefused(error.reason, of_text=isinstance(error, TextRefused)) from error
