"""Which passages have the words of a query, the best first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.search.model import bm25
from services.search.model.postings import unite
from services.search.model.query import Group, Query
from services.search.model.ranking import Ranking
from services.search.service.reading import Snapshot, Snapshots
from services.search.service.units import SearchUnitOfWork


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The best passages, and how many there are in all; `scored` is what each word of the query stood for."""

    ranking: Ranking
    count: int
    scored: Sequence[bm25.Scored]


def lexical(
    snapshots: Snapshots,
    uow: SearchUnitOfWork,
    snapshot: Snapshot,
    query: Query,
    allowed: NDArray[np.bool_] | None,
    limit: int,
) -> Matches:
    """The best `limit` passages of documents that may be found (`Snapshots.allowed`).

    They hold a word of the query, all of `required`, none of `excluded`; phrases are the caller's to look for in their
    texts. Raises SnapshotGone.
    """
    groups = [*query.groups, *query.required, *query.excluded]
    postings = snapshots.postings(uow, snapshot, {term for group in groups for term in group.terms})

    def scored(group: Group) -> bm25.Scored:
        return bm25.Scored(group.word, unite([postings[term] for term in group.terms]), group.weight)

    words = [scored(group) for group in query.groups]
    corpus = snapshot.corpus
    mask = snapshot.of_documents(allowed) if allowed is not None else None
    for group in query.required:
        mask = _both(mask, bm25.containing(corpus, scored(group)))
    for group in query.excluded:
        mask = _both(mask, ~bm25.containing(corpus, scored(group)))
    found = np.zeros(corpus.end, np.bool_)
    for word in words:
        found[word.postings.chunk_nos] = True
    found[corpus.dead] = False
    count = int(np.count_nonzero(_both(mask, found)))
    return Matches(bm25.rank(corpus, words, limit, mask), count, words)


def _both(mask: NDArray[np.bool_] | None, other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return other if mask is None else mask & other
