"""How good a ranking is, by judgements: the measures of trec_eval.

A ranking is the names of what was found, best first, none twice. `gains` holds what was judged for one query, by name;
above 0 is relevant, and what was not judged is not. Raises ValueError where nothing is relevant: that is not a 0.
"""

from collections.abc import Mapping, Sequence
from math import log2


def ndcg(ranking: Sequence[str], gains: Mapping[str, int], depth: int) -> float:
    """Normalised discounted cumulative gain of the first `depth`.

    Järvelin and Kekäläinen (2002), with trec_eval's discount: log2(rank + 1).
    """
    _relevant(gains)
    ideal = sorted(gains.values(), reverse=True)
    return _dcg([gains.get(name, 0) for name in ranking[:depth]]) / _dcg(ideal[:depth])


def recall(ranking: Sequence[str], gains: Mapping[str, int], depth: int) -> float:
    """Which share of what is relevant stands among the first `depth`."""
    relevant = _relevant(gains)
    return len(relevant.intersection(ranking[:depth])) / len(relevant)


def average_precision(ranking: Sequence[str], gains: Mapping[str, int]) -> float:
    """The mean, over all that is relevant, of the precision where it is found; 0 for what is not found."""
    relevant = _relevant(gains)
    ranks = [rank for rank, name in enumerate(ranking, 1) if name in relevant]
    return sum(found / rank for found, rank in enumerate(ranks, 1)) / len(relevant)


def reciprocal_rank(ranking: Sequence[str], gains: Mapping[str, int]) -> float:
    """One by the rank of the first that is relevant; 0 where none is found."""
    relevant = _relevant(gains)
    return next((1 / rank for rank, name in enumerate(ranking, 1) if name in relevant), 0.0)


def _relevant(gains: Mapping[str, int]) -> set[str]:
    relevant = {name for name, gain in gains.items() if gain > 0}
    if not relevant:
        raise ValueError("nothing is relevant to this query, so nothing can be measured by it")
    return relevant


def _dcg(gains: Sequence[int]) -> float:
    return sum(max(gain, 0) / log2(rank + 1) for rank, gain in enumerate(gains, 1))
