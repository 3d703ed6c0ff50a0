"""How good the answers are on Cranfield, which is kept out of this tree: PLINTH_CASES says where it is."""

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, R, nDCG

from services.search.model.bm25 import K1
from tests.bench_search import peers
from tests.bench_search.__main__ import CASES
from tests.bench_search.collection import Collection, read_cranfield
from tests.bench_search.hybrid import Hybrid, cross_validated
from tests.bench_search.judging import Judged, judge
from tests.bench_search.library import Library, build

CRANFIELD = CASES / "cranfield"

pytestmark = [
    pytest.mark.skipif(
        not CRANFIELD.is_dir(), reason=f"the Cranfield collection is not in {CRANFIELD}: set PLINTH_CASES"
    ),
    pytest.mark.xdist_group("cranfield"),
]


@pytest.fixture(scope="module")
def cranfield() -> Collection:
    return read_cranfield(CRANFIELD)


@pytest.fixture(scope="module")
def library(cranfield: Collection) -> Library:
    return build(cranfield, "en")


@pytest.fixture(scope="module")
def lexical(cranfield: Collection, library: Library) -> Judged:
    return judge("lexical", cranfield, library.lexical)


def test_the_collection_is_read_whole(cranfield: Collection) -> None:
    assert (len(cranfield.documents), len(cranfield.queries)) == (1400, 225)
    assert sum(map(len, cranfield.gains.values())) == 1612
    assert (cranfield.documents["471"], cranfield.gains["1"]["184"]) == ("", 3)


def test_words_find_at_least_what_bm25s_finds(cranfield: Collection, lexical: Judged) -> None:
    for k1 in (K1, peers.THEIR_K1):
        assert lexical.ndcg.mean() >= judge("bm25s", cranfield, peers.own_words(cranfield, "en", k1)).ndcg.mean()


def test_both_arms_together_find_more_than_either(cranfield: Collection, library: Library, lexical: Judged) -> None:
    semantic = judge("semantic", cranfield, library.semantic)
    hybrid = cross_validated("hybrid", cranfield, Hybrid(library))
    assert hybrid.ndcg.mean() >= max(lexical.ndcg.mean(), semantic.ndcg.mean())
    assert hybrid.ndcg.mean() >= 0.42


def test_figures_are_those_of_trec_eval(cranfield: Collection, library: Library, lexical: Judged) -> None:
    run = {
        query: {name: float(-place) for place, name in enumerate(library.lexical(text))}
        for query, text in cranfield.queries.items()
    }
    gains = {query: dict(judged) for query, judged in cranfield.gains.items()}
    expected = ir_measures.pytrec_eval.calc_aggregate([nDCG @ 10, R @ 100, AP, RR], gains, run)
    found = [lexical.graded_ndcg, lexical.recall, lexical.precision, lexical.reciprocal_rank]
    assert [np.mean(figures) for figures in found] == pytest.approx([expected[m] for m in (nDCG @ 10, R @ 100, AP, RR)])
