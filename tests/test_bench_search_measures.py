"""The figures of `make bench-search` are those that trec_eval prints."""

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, RR, R, nDCG

from tests.bench_search.measures import average_precision, ndcg, recall, reciprocal_rank

NAMES = [f"d{number}" for number in range(30)]
GAINS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 4), min_size=1).filter(lambda gains: any(gains.values()))
RANKING = st.lists(st.sampled_from(NAMES), unique=True, min_size=1)


@given(RANKING, GAINS, st.integers(1, 20))
def test_figures_are_those_of_trec_eval(ranking: list[str], gains: dict[str, int], depth: int) -> None:
    scored = {name: float(len(ranking) - place) for place, name in enumerate(ranking)}
    asked = [nDCG @ depth, R @ depth, AP, RR]
    expected = ir_measures.pytrec_eval.calc_aggregate(asked, {"q": gains}, {"q": scored})
    found = [
        ndcg(ranking, gains, depth),
        recall(ranking, gains, depth),
        average_precision(ranking, gains),
        reciprocal_rank(ranking, gains),
    ]
    assert found == pytest.approx([expected[measure] for measure in asked])


@given(GAINS)
def test_the_ideal_ranking_is_perfect(gains: dict[str, int]) -> None:
    ideal = sorted(gains, key=lambda name: -gains[name])
    assert [ndcg(ideal, gains, 30), recall(ideal, gains, 30), average_precision(ideal, gains)] == pytest.approx(
        [1, 1, 1]
    )
    assert reciprocal_rank(ideal, gains) == 1


def test_nothing_found_is_a_zero() -> None:
    assert [ndcg([], {"a": 1}, 10), recall([], {"a": 1}, 10)] == [0, 0]
    assert [average_precision([], {"a": 1}), reciprocal_rank([], {"a": 1})] == [0, 0]


def test_a_query_to_which_nothing_is_relevant_is_not_a_zero() -> None:
    with pytest.raises(ValueError, match="nothing is relevant"):
        ndcg(["a"], {"a": 0}, 10)


def test_a_negative_gain_costs_nothing() -> None:
    assert ndcg(["b", "a"], {"a": 1, "b": -1}, 10) == ndcg(["b", "a"], {"a": 1}, 10)
