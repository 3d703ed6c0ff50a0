"""Rankings of all queries, as figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.bench_search import measures
from tests.bench_search.collection import Collection

# A query's text to the names of what was found, best first. Whatever can be asked so can be measured.
Searcher = Callable[[str], Sequence[str]]
Figures = NDArray[np.float64]

_RESAMPLES = 2000
_SEED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One way to search: each figure for each query, in the collection's order. `ndcg` is by binary gains."""

    name: str
    ndcg: Figures
    graded_ndcg: Figures
    recall: Figures
    precision: Figures
    reciprocal_rank: Figures


def judge(name: str, collection: Collection, search: Searcher) -> Judged:
    """Ask all queries, and measure what is found."""
    rows = [_measure(search(text), collection.gains[query]) for query, text in collection.queries.items()]
    return Judged(name, *np.array(rows).T)


def ndcg(ranking: Sequence[str], gains: Mapping[str, int]) -> float:
    """nDCG@10 by binary gains, the figure that counts."""
    return measures.ndcg(ranking, {document: min(gain, 1) for document, gain in gains.items()}, 10)


def interval(better: Figures, worse: Figures) -> tuple[float, float]:
    """Where the difference of two means lies, at 95 %: a paired bootstrap over the queries."""
    differences = better - worse
    picks = np.random.default_rng(_SEED).integers(0, len(differences), (_RESAMPLES, len(differences)))
    low, high = np.percentile(differences[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _measure(ranking: Sequence[str], gains: Mapping[str, int]) -> tuple[float, ...]:
    return (
        ndcg(ranking, gains),
        measures.ndcg(ranking, gains, 10),
        measures.recall(ranking, gains, 100),
        measures.average_precision(ranking, gains),
        measures.reciprocal_rank(ranking, gains),
    )
