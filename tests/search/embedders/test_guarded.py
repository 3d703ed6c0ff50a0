"""An embedder as search asks it: what is counted, who is turned away, and what the failures are called."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.registry import CollectorRegistry

from services.search.embedders.breaker import Breaker
from services.search.embedders.guarded import GuardedEmbedder
from services.search.embedders.port import ProviderRefused, ProviderUnavailable, TextRefused
from services.search.embedders.report import EmbedderReport
from services.search.errors import EmbedderRefused, EmbedderUnavailable
from services.search.model.index import EmbedderKind
from tests.search.embedders.held_time import HeldTime


class Moody:
    """An embedder that fails as it is told to."""

    name, dimensions, max_batch = "moody", 2, 1

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return np.ones((len(texts), 2), np.float32)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.embed_texts([text])[0]
        return vector


@pytest.fixture
def moody() -> Moody:
    return Moody()


@pytest.fixture
def report() -> EmbedderReport:
    return EmbedderReport()


@pytest.fixture
def guarded(moody: Moody, held: HeldTime, report: EmbedderReport) -> GuardedEmbedder:
    return GuardedEmbedder(moody, EmbedderKind.OPENAI, Breaker(held), report)


def test_calls_are_counted_by_what_came_of_them(guarded: GuardedEmbedder, moody: Moody, report: EmbedderReport) -> None:
    registry = CollectorRegistry()
    registry.register(report)
    assert (guarded.name, guarded.dimensions, guarded.max_batch) == ("moody", 2, 1)
    assert guarded.embed_texts(["a", "b"]).shape == (2, 2)
    for moody.error in (ProviderUnavailable("away"), ProviderUnavailable("away"), ProviderRefused("no credit")):
        with pytest.raises((EmbedderUnavailable, EmbedderRefused)):
            guarded.embed_texts(["a"])
    with pytest.raises(EmbedderRefused):
        guarded.embed_query("a")
    # It rests, so nobody is called.
    with pytest.raises(EmbedderRefused):
        guarded.embed_query("a")
    calls = {
        outcome: registry.get_sample_value("plinth_embedder_calls_total", {"embedder": "openai", "outcome": outcome})
        for outcome in ("ok", "unavailable", "refused")
    }
    assert calls == {"ok": 1, "unavailable": 2, "refused": 2}
    assert registry.get_sample_value("plinth_embedder_seconds_total", {"embedder": "openai"}) is not None


@pytest.mark.parametrize(
    ("error", "metadata"),
    [
        (ProviderRefused("a bad key"), {"problem": "a bad key", "scope": "provider"}),
        (TextRefused("too long"), {"problem": "too long", "scope": "text"}),
    ],
)
def test_a_refusal_says_whether_it_is_of_a_text(
    guarded: GuardedEmbedder, moody: Moody, error: Exception, metadata: dict[str, str]
) -> None:
    moody.error = error
    with pytest.raises(EmbedderRefused) as refusal:
        guarded.embed_texts(["a"])
    assert refusal.value.metadata == metadata
    with pytest.raises(EmbedderRefused) as refusal:
        guarded.embed_query("a")
    assert refusal.value.metadata == metadata


@pytest.mark.parametrize(("after", "seconds"), [(None, 5), (timedelta(seconds=30), 30)])
def test_an_absence_says_when_to_come_again(
    guarded: GuardedEmbedder, moody: Moody, after: timedelta | None, seconds: float
) -> None:
    moody.error = ProviderUnavailable("away", after)
    with pytest.raises(EmbedderUnavailable) as absence:
        guarded.embed_texts(["a"])
    assert absence.value.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize(("error", "calls"), [(TextRefused("too long"), 2), (ProviderRefused("a bad key"), 1)])
def test_a_text_that_is_refused_keeps_no_other_query_away(
    guarded: GuardedEmbedder, moody: Moody, error: Exception, calls: int
) -> None:
    for moody.error in (error, None):
        with suppress(EmbedderRefused):
            guarded.embed_query("a")
    assert moody.calls == calls


def test_passages_are_tried_while_queries_are_turned_away(guarded: GuardedEmbedder, moody: Moody) -> None:
    moody.error = ProviderUnavailable("away")
    with pytest.raises(EmbedderUnavailable):
        guarded.embed_query("a")
    moody.error = None
    assert len(guarded.embed_texts(["a"])) == 1
