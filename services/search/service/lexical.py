"""Which passages have the words of a query, the best first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.search.model import bm25
from services.search.model.postings import Postings, unite
from services.search.model.query import Group, Query
from services.search.model.ranking import Ranking
from services.search.service.snapshots import Snapshot, Snapshots
from services.search.service.units import SearchUnitOfWork

# A phrase is looked for in the texts of so many passages that have its words, those that rank highest.
PHRASE_DEPTH = 5_000


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

    They hold a word of the query, all of `required`, none of `excluded`, and `query.admits` their texts. Raises
    SnapshotGone.
    """
    postings = snapshots.postings(uow, snapshot, query.terms)
    words = _scored(query.groups, postings)
    corpus = snapshot.corpus
    mask = _holding(snapshot, query, postings, snapshot.of_documents(allowed) if allowed is not None else None)
    found = np.zeros(corpus.end, np.bool_)
    for word in words:
        found[word.postings.chunk_nos] = True
    found &= corpus.live if mask is None else corpus.live & mask
    count = int(np.count_nonzero(found))
    if (doubted := _doubtful(snapshot, query, postings)) is not None:
        looked_at = bm25.rank(corpus, words, PHRASE_DEPTH, found & doubted)
        mask = found & ~doubted
        mask[admitted(uow, snapshot, query, looked_at, doubted).chunk_nos] = True
        count = int(np.count_nonzero(mask))
    return Matches(bm25.rank(corpus, words, limit, mask), count, words)


def holding(snapshots: Snapshots, uow: SearchUnitOfWork, snapshot: Snapshot, query: Query) -> NDArray[np.bool_] | None:
    """For each chunk_no whether it has the words that it must have, and none that it must not; None: any may be."""
    groups = [*query.required, *query.excluded]
    postings = snapshots.postings(uow, snapshot, {term for group in groups for term in group.terms})
    return _holding(snapshot, query, postings, None)


def doubtful(snapshots: Snapshots, uow: SearchUnitOfWork, snapshot: Snapshot, query: Query) -> NDArray[np.bool_] | None:
    """For each chunk_no whether its text has to be looked at, as it has all words of a phrase; None: no text has."""
    terms = {term for groups in query.suspicious for group in groups for term in group.terms}
    return _doubtful(snapshot, query, snapshots.postings(uow, snapshot, terms))


def admitted(
    uow: SearchUnitOfWork, snapshot: Snapshot, query: Query, ranking: Ranking, doubted: NDArray[np.bool_] | None
) -> Ranking:
    """What is left of a ranking where the phrases stand in the texts of the doubtful, and the unwanted ones do not."""
    if doubted is None:
        return ranking
    in_doubt = doubted[ranking.chunk_nos]
    texts = uow.repo.found.texts(snapshot.workspace_id, ranking.chunk_nos[in_doubt].tolist())
    kept = ~in_doubt
    kept[in_doubt] = [query.admits(texts.get(number, "")) for number in ranking.chunk_nos[in_doubt].tolist()]
    return ranking.only(kept)


def _doubtful(snapshot: Snapshot, query: Query, postings: dict[str, Postings]) -> NDArray[np.bool_] | None:
    """As above; where phrases are wanted, all that may be found have their words already."""
    if query.phrases:
        return np.ones(snapshot.corpus.end, np.bool_)
    doubted: NDArray[np.bool_] | None = None
    for groups in query.suspicious:
        having = bm25.holding(snapshot.corpus, _scored(groups, postings), [], None)
        doubted = having if doubted is None or having is None else doubted | having
    return doubted


def _holding(
    snapshot: Snapshot, query: Query, postings: dict[str, Postings], mask: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    required, excluded = _scored(query.required, postings), _scored(query.excluded, postings)
    return bm25.holding(snapshot.corpus, required, excluded, mask)


def _scored(groups: Sequence[Group], postings: dict[str, Postings]) -> list[bm25.Scored]:
    return [bm25.Scored(group.word, unite([postings[term] for term in group.terms]), group.weight) for group in groups]
