"""What operators see of searches."""

from collections.abc import Callable

import pytest
from prometheus_client.registry import CollectorRegistry

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
