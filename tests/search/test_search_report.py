"""What operators see of searches, and of the embedders that they need."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.registry import CollectorRegistry

from services.search.embedders.counted import Counted, EmbedderReport
from services.search.embedders.port import ProviderRefused, ProviderUnavailable
from services.search.model.index import EmbedderKind
from services.search.service.search_report import SearchReport
from services.wiring import Mesh
from tests.search.archive import HYBRID, LEXICAL, Archive


@pytest.fixture
def told(mesh: Mesh) -> Callable[..., float]:
    """The value of a metric of the server's now, with these labels."""
    registry = CollectorRegistry()
    [report] = [one for one in mesh.collectors if isinstance(one, SearchReport)]
    registry.register(report)
    return lambda name, **labels: registry.get_sample_value(name, labels) or 0.0


def test_a_search_is_counted_by_the_mode_that_answered_it_with_what_it_had_to_look_at(
    archive: Archive, told: Callable[..., float]
) -> None:
    for number in range(3):
        archive.put(f"{number}.txt", [f"the fox number {number}"])
    before, segments = told("plinth_search_seconds_count", mode="lexical"), told("plinth_search_segments_total")
    archive.search("fox", mode=LEXICAL)
    # There is too little to learn from, so words answer this one too.
    archive.search("fox", mode=HYBRID)
    assert told("plinth_search_seconds_count", mode="lexical") == before + 2
    assert told("plinth_search_segments_total") == segments + 2 * 3


class Moody:
    """An embedder that fails as it is told to."""

    name, dimensions, max_batch = "moody", 2, 1

    def __init__(self) -> None:
        self.error: Exception | None = None

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.error is not None:
            raise self.error
        return np.ones((len(texts), 2), np.float32)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.embed_texts([text])[0]
        return vector


def test_calls_of_an_embedder_are_counted_by_what_came_of_them() -> None:
    moody, report, registry = Moody(), EmbedderReport(), CollectorRegistry()
    registry.register(report)
    counted = Counted(moody, EmbedderKind.OPENAI, report)
    assert (counted.name, counted.dimensions, counted.max_batch) == ("moody", 2, 1)
    assert counted.embed_texts(["a", "b"]).shape == (2, 2)
    for moody.error in (ProviderUnavailable("away"), ProviderUnavailable("away"), ProviderRefused("no credit")):
        with pytest.raises(type(moody.error)):
            counted.embed_query("a")
    calls = {
        outcome: registry.get_sample_value("plinth_embedder_calls_total", {"embedder": "openai", "outcome": outcome})
        for outcome in ("ok", "unavailable", "refused")
    }
    assert calls == {"ok": 1, "unavailable": 2, "refused": 1}
    assert registry.get_sample_value("plinth_embedder_seconds_total", {"embedder": "openai"}) is not None
