"""Models: versions of an embedder in a workspace, and when a new one is wanted."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import isqrt
from uuid import UUID

from services.search.model.index import EmbedderKind, VectorSet

# So many vectors are written in one commit: each takes milliseconds where there is a graph, and others wait.
AT_ONCE = 200
# A model that was fitted to so much less, or more, no longer knows the words.
_GROWTH = 1.5
_SHRINKAGE = 2
# At 100,000 passages of real text (`make bench`; of fewer, tests/search/test_graphs.py) 0.99 of the ten nearest are
# found with 100 candidates that a filter lets through; and there have to be some more than are wanted. Never fewer than
# 400 are kept, nor more than pgvector's 1,000, which would not do where a filter lets less than a tenth through.
_CANDIDATES = 100
_SPARE = 1.2
_MIN_CANDIDATES, _MAX_CANDIDATES = 400, 1_000
_SHARE = 10
# What a step through a graph costs, in vectors that could be compared instead.
_STEP = 20


class ModelState(StrEnum):
    """What a model is good for."""

    BUILDING = "building"
    """Passages get their vectors, beside what serves."""
    LIVE = "live"
    """It serves."""
    RETIRED = "retired"
    """It is to be deleted."""
    VOID = "void"
    """Nothing could be learnt of so many passages; it says so until there are more."""


@dataclass(frozen=True, slots=True)
class Model:
    """A version of an embedder. `dimensions` is 0 until it is known what makes the vectors.

    Passages below `next_chunk_no` have their vectors, those up to `end_chunk_no` get them from a job, and those from
    there on got them as they were published; `vector_count` have one that says something. `approximate`: its vectors
    are in a graph, for which there was no room at `graph_time`. `fitted_chunks` says to how many passages a latent
    semantic one was fitted, and `prune_time` when it was last rid of words that nobody has.
    """

    workspace_id: UUID
    model_id: UUID
    embedder: EmbedderKind
    name: str
    dimensions: int
    state: ModelState
    fitted_chunks: int
    next_chunk_no: int
    end_chunk_no: int
    approximate: bool
    vector_count: int
    create_time: datetime
    prune_time: datetime
    graph_time: datetime | None = None

    @property
    def vectors(self) -> VectorSet:
        """Its vectors, as people see them."""
        return VectorSet(
            self.embedder, self.name, self.dimensions, self.vector_count, self.approximate, self.create_time
        )

    @property
    def latent(self) -> bool:
        """Whether its vectors are made of the workspace's own words."""
        return self.embedder is EmbedderKind.LSA

    @property
    def ready(self) -> bool:
        """Whether it is known what makes its vectors."""
        return self.dimensions > 0

    @property
    def whole(self) -> bool:
        """Whether no passage lacks its vector."""
        return self.ready and self.next_chunk_no >= self.end_chunk_no


def outgrown(fitted_chunks: int, chunk_count: int) -> bool:
    """Whether an index has grown by half, or shrunk by half, since a model was fitted to it."""
    return chunk_count >= _GROWTH * fitted_chunks or chunk_count * _SHRINKAGE <= fitted_chunks


def few(left: int, total: int, limit: int) -> bool:
    """Whether to compare all that a filter leaves of `total`, rather than walk a graph for the `limit` nearest."""
    return left <= max(total // _SHARE, isqrt(_STEP * _passing(limit) * total))


def candidates(left: int, total: int, limit: int) -> int:
    """How many candidates a walk keeps for the `limit` nearest of the passages that a filter leaves."""
    return min(max(_passing(limit) * total // max(left, 1), _MIN_CANDIDATES), _MAX_CANDIDATES)


def _passing(limit: int) -> int:
    """How many candidates have to pass the filter."""
    return max(_CANDIDATES, int(limit * _SPARE))
