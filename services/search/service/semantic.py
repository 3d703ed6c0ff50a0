"""Which passages are nearest to what a query means."""

from collections.abc import Mapping
from hashlib import blake2b
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.search.embedders.build import Embedders
from services.search.errors import EmbedderNotConfigured
from services.search.model.ranking import Ranking, best
from services.search.model.vectors import Model, candidates, few
from services.search.service.cache import LruCache
from services.search.service.projections import Projections
from services.search.service.snapshots import Snapshot
from services.search.service.units import SearchUnitOfWork

# Of a cosine: what is nearer to each other than that says the same.
_DIGITS = 6
# What is kept of the queries of a process: their vectors, under digests of their texts.
_QUERIES_BYTES = 8 * 2**20


class SemanticSearch:
    """Vectors of queries, and the passages nearest to them."""

    def __init__(self, embedders: Embedders, projections: Projections) -> None:
        self._embedders = embedders
        self._projections = projections
        self._queries: LruCache[tuple[UUID, bytes], NDArray[np.float32]] = LruCache(_QUERIES_BYTES)

    def of_terms(self, uow: SearchUnitOfWork, model: Model, terms: Mapping[str, int]) -> NDArray[np.float32] | None:
        """A query's vector under a latent semantic model, which knows terms; None where it knows none of these."""
        vector = self._projections.of(uow, model).fold(terms)
        return vector if vector.any() else None

    def of_text(self, model: Model, text: str) -> NDArray[np.float32]:
        """A query's vector under any other model; outside of a unit, as somebody may have to be asked for it.

        Raises EmbedderUnavailable, EmbedderRefused or EmbedderNotConfigured.
        """
        if not self._embedders.may_make(model):
            raise EmbedderNotConfigured(model.embedder.wire_name)
        vector = self._embedders.of(model.embedder).embed_query(text)
        self._queries.put(_key(model, text), vector, vector.nbytes)
        return vector

    def known(self, model: Model, text: str) -> NDArray[np.float32] | None:
        """A query's vector that was made already: nobody pays for the second page of a search."""
        return self._queries.get(_key(model, text))

    def nearest(
        self,
        uow: SearchUnitOfWork,
        snapshot: Snapshot,
        model: Model,
        vector: NDArray[np.float32],
        allowed: NDArray[np.bool_] | None,
        limit: int,
    ) -> Ranking:
        """The best `limit` passages of documents that may be found (`Snapshots.allowed`), by cosine, all above 0.

        A graph finds nearly all of them, and is used where the model has one and the filter leaves it enough. Where it
        leads to passages that are mostly alike, all are compared.
        """
        total = snapshot.corpus.chunk_count
        left = total if allowed is None else int(np.count_nonzero(snapshot.of_documents(allowed)))
        if not left:
            return _ranking([], 0)
        found: list[tuple[int, float]] = []
        if model.approximate and not few(left, total, limit):
            found = uow.repo.nearest.along_graph(model, vector, limit, allowed, candidates(left, total, limit))
        if len(found) < min(limit, left) or _are_alike(found):
            doc_nos = None if allowed is None else np.flatnonzero(allowed).astype(np.int32)
            found = uow.repo.nearest.exact(model, vector, limit, doc_nos)
        return _ranking(found, snapshot.corpus.end)

    def nearest_of(
        self,
        uow: SearchUnitOfWork,
        snapshot: Snapshot,
        model: Model,
        vector: NDArray[np.float32],
        chunk_nos: NDArray[np.int32],
    ) -> Ranking:
        """These passages by cosine, all above 0."""
        chunk_nos = np.sort(chunk_nos)
        cosines = (self.vectors_of(uow, snapshot, model, chunk_nos) @ vector).astype(np.float64)
        return best(chunk_nos, np.maximum(cosines, 0), len(chunk_nos)) if len(chunk_nos) else _ranking([], 0)

    def vectors_of(
        self, uow: SearchUnitOfWork, snapshot: Snapshot, model: Model, chunk_nos: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """The vectors of these passages (none twice), one row for each: of length 1, or 0 where there is none."""
        vectors = np.zeros((len(chunk_nos), model.dimensions), np.float32)
        places = {int(chunk_no): place for place, chunk_no in enumerate(chunk_nos)}
        for chunk_no, vector in uow.repo.nearest.of(model, snapshot.doc_nos[chunk_nos], chunk_nos):
            vectors[places[chunk_no]] = vector
        return vectors


def _are_alike(found: list[tuple[int, float]]) -> bool:
    """Whether most are as near as another one, so that the walk may not have got away from them.

    The neighbours of a vector that very many have are these, and no path leads from them to others.
    """
    return 2 * len({round(cosine, _DIGITS) for _, cosine in found}) <= len(found)


def _key(model: Model, text: str) -> tuple[UUID, bytes]:
    return model.model_id, blake2b(text.encode(), digest_size=16).digest()


def _ranking(found: list[tuple[int, float]], end: int) -> Ranking:
    """Without what was published after the snapshot, and what points away."""
    kept = [(number, cosine) for number, cosine in found if cosine > 0 and number < end]
    numbers = np.array([number for number, _ in kept], np.int32)
    cosines = np.array([cosine for _, cosine in kept], np.float64)
    order = np.lexsort((numbers, -cosines))
    return Ranking(numbers[order], cosines[order])
