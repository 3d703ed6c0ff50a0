"""Chunks in the order of their scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Chunks, best first; among equals the lower chunk_no comes first. Scores are above 0."""

    chunk_nos: NDArray[np.int32]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.chunk_nos)

    def first(self, count: int) -> "Ranking":
        """The best so many."""
        return Ranking(self.chunk_nos[:count], self.scores[:count])

    def only(self, kept: NDArray[np.bool_]) -> "Ranking":
        """Those that `kept` has at their places."""
        return Ranking(self.chunk_nos[kept], self.scores[kept])


def best(chunk_nos: NDArray[np.int32], scores: NDArray[np.float64], limit: int) -> Ranking:
    """The `limit` (at least 1) best of these chunks (ascending), without those whose score is 0."""
    threshold = np.partition(scores, len(scores) - limit)[len(scores) - limit] if limit < len(scores) else 0.0
    better = np.flatnonzero(scores > threshold)
    equal = np.flatnonzero(scores == threshold) if threshold > 0 else better[:0]
    found = np.concatenate([better, equal[: limit - len(better)]])
    order = found[np.lexsort((found, -scores[found]))]
    return Ranking(chunk_nos[order], scores[order])
