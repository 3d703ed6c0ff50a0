"""One ranking out of two: by words and by meaning, weighted by what the query is like.

Weighted reciprocal-rank fusion (Cormack, Clarke and Büttcher 2009), twice: what comes first the first time tells what
is meant (Rocchio 1971, "Relevance feedback in information retrieval"), and the second time the semantic arm is ordered
by that. On Cranfield either arm alone, and one fusion alone, find less. Ranks do not tell by how much one passage is
better than the next, so one in which the whole query stands as it was typed is a third arm, which outweighs both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.search.model.query import Group
from services.search.model.ranking import Ranking, best

# How many each arm gives to be fused; deeper gains nothing on Cranfield's first hundred.
ARM_DEPTH = 200
_FEW = 2
_NONE = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class Features:
    """What a query is like, as far as it says which arm to trust.

    `words` counts its words, of a compound its parts. `unknown` is the share of which the semantic arm knows nothing,
    `exact` that which is meant to the letter.
    """

    words: int
    unknown: float
    exact: float

    @classmethod
    def of(cls, groups: Sequence[Group], known: Sequence[bool]) -> "Features":
        """Those of a query; `known` says for each of its groups whether the semantic arm knows it."""
        rows = [(group, knows) for group, knows in zip(groups, known, strict=True) if not group.compound]
        count = max(len(rows), 1)
        return cls(
            len(rows),
            unknown=sum(not knows for _, knows in rows) / count,
            exact=sum(group.exact for group, _ in rows) / count,
        )


@dataclass(frozen=True, slots=True)
class Blend:
    """The constants of fusion.

    Found by cross-validation on Cranfield (`make bench-search`): `lexical`, the weight of the lexical arm out of 1;
    `k`, which dampens the first ranks; and `feedback`, what the `leaders` of the first fusion weigh against the query's
    1. How long a query is, and how rare its words are, made no difference there.

    By judgement, for Cranfield has no such queries: the lexical weight is `few` where there are at most two words,
    which people expect to see in what is found, and `exact` for what is meant to the letter. Of a word that the
    semantic arm does not know only the lexical one can tell.
    """

    lexical: float = 0.3
    few: float = 0.5
    exact: float = 0.8
    k: float = 10.0
    leaders: int = 3
    feedback: float = 1.0

    def weight(self, features: Features) -> float:
        """The lexical arm's weight, 0 to 1."""
        weight = self.few if features.words <= _FEW else self.lexical
        weight += (self.exact - weight) * features.exact
        return weight + (1 - weight) * features.unknown


BLEND = Blend()


def fuse(arms: Sequence[NDArray[np.int32]], weights: Sequence[float], k: float, limit: int) -> Ranking:
    """The chunks of all arms (each best first, none twice in one), by the sum of weight / (k + rank)."""
    numbers = np.concatenate([np.empty(0, np.int32), *arms])
    shares = np.concatenate(
        [np.empty(0), *(weight / (k + np.arange(1, len(arm) + 1)) for arm, weight in zip(arms, weights, strict=True))]
    )
    chunk_nos, group = np.unique(numbers, return_inverse=True)
    scores = np.zeros(len(chunk_nos))
    np.add.at(scores, group, shares)
    return best(chunk_nos, scores, limit)


def hybrid(
    lexical: NDArray[np.int32],
    semantic: NDArray[np.int32],
    weight: float,
    query: NDArray[np.float32],
    vectors_of: Callable[[NDArray[np.int32]], NDArray[np.float32]],
    limit: int,
    blend: Blend = BLEND,
    verbatim: NDArray[np.int32] = _NONE,
) -> Ranking:
    """Both arms (best first) as one ranking, `weight` is the lexical one's; what is `verbatim` leads it.

    `query` is the query's vector, and `vectors_of` gives one row for each of these chunks: of length 1, or 0 where a
    chunk has none.
    """
    weights = [weight, 1 - weight, 1.0]
    arms = [lexical, semantic, verbatim]
    found = fuse(arms, weights, blend.k, sum(map(len, arms))).chunk_nos
    if not len(semantic) or not blend.leaders:
        return fuse(arms, weights, blend.k, limit)
    vectors = vectors_of(found)
    leaders = vectors[: blend.leaders]
    shares = 1 / np.arange(1, len(leaders) + 1)
    meant = query + blend.feedback * (shares / shares.sum()) @ leaders
    refined = found[np.argsort(-(vectors @ meant), kind="stable")]
    return fuse([lexical, refined, verbatim], weights, blend.k, limit)
