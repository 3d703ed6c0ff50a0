"""The hybrid arm, and its constants, cross-validated: each query is answered with what the others find best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from services.search.model.fusion import ARM_DEPTH, BLEND, Blend, Features, hybrid
from tests.bench_search.collection import Collection
from tests.bench_search.judging import Figures, Judged, Searcher, judge, ndcg
from tests.bench_search.library import DEPTH, Library

PLAIN = Blend(lexical=0.5, few=0.5, exact=0.5, k=60, leaders=0)
WITHOUT_FEEDBACK = replace(BLEND, leaders=0)
GRID = [
    Blend(lexical=lexical, k=k, leaders=leaders, feedback=feedback)
    for lexical, k, (leaders, feedback) in product(
        (0.1, 0.2, 0.3, 0.4, 0.5), (10, 20, 60), ((0, 0), (1, 1), (3, 1), (3, 2))
    )
]
_FOLDS = 10
_SEED = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What does not depend on the constants."""

    lexical: NDArray[np.int32]
    semantic: NDArray[np.int32]
    vector: NDArray[np.float32]
    features: Features


class Hybrid:
    """Searches by both arms, with any constants."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._asked: dict[str, _Asked] = {}

    def searcher(self, blend: Blend) -> Searcher:
        """With these constants."""
        return lambda text: self._search(text, blend)

    def _search(self, text: str, blend: Blend) -> list[str]:
        library, asked = self._library, self._asked.get(text) or self._ask(text)
        assert library.meaning
        vectors = library.meaning.vectors
        weight = blend.weight(asked.features)
        found = hybrid(
            asked.lexical, asked.semantic, weight, asked.vector, lambda numbers: vectors[numbers], DEPTH, blend
        )
        return library.named(found)

    def _ask(self, text: str) -> _Asked:
        groups = self._library.read(text).groups
        asked = _Asked(
            self._library.by_words(groups, ARM_DEPTH).chunk_nos,
            self._library.by_meaning(groups, ARM_DEPTH).chunk_nos,
            self._library.vector(groups),
            self._library.features(groups),
        )
        self._asked[text] = asked
        return asked


def cross_validated(name: str, collection: Collection, arm: Hybrid, grid: Sequence[Blend] = GRID) -> Judged:
    """The hybrid arm, each fold of the queries with the constants of the grid that are best for all others."""
    queries = list(collection.queries)
    figures = np.array([_ndcgs(collection, arm.searcher(blend)) for blend in grid])
    folds = np.random.default_rng(_SEED).permutation(len(queries)) % _FOLDS
    chosen = {
        collection.queries[query]: grid[int(figures[:, folds != fold].mean(axis=1).argmax())]
        for query, fold in zip(queries, folds, strict=True)
    }
    return judge(name, collection, lambda text: arm.searcher(chosen[text])(text))


def _ndcgs(collection: Collection, search: Searcher) -> Figures:
    return np.array([ndcg(search(text), collection.gains[query]) for query, text in collection.queries.items()])
