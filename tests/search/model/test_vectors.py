"""When another model is wanted, and when a graph is walked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.model.vectors import candidates, few, outgrown

COUNTS = st.integers(1, 5_000_000)


@pytest.mark.parametrize(
    ("chunk_count", "wanted"), [(300, False), (449, False), (450, True), (151, False), (150, True), (0, True)]
)
def test_a_model_is_outgrown_by_half(chunk_count: int, wanted: bool) -> None:
    assert outgrown(300, chunk_count) is wanted


@pytest.mark.parametrize(("left", "compared"), [(1_000, True), (10_000, True), (50_000, False), (100_000, False)])
def test_what_a_filter_leaves_of_100_000_is_compared_while_it_is_few(left: int, compared: bool) -> None:
    assert few(left, 100_000, 200) is compared


@given(total=COUNTS, share=st.floats(0.1, 1), limit=st.integers(1, 500))
def test_enough_candidates_pass_any_filter_that_a_graph_is_walked_for(total: int, share: float, limit: int) -> None:
    left = max(1, int(total * share))
    found = candidates(left, total, limit)
    assert 400 <= found <= 1_000
    if not few(left, total, limit):
        assert found * left >= 99 * total
