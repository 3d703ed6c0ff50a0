"""What latent semantic models have learnt, kept in the process. It never grows; words that nobody has are taken out."""

import threading
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.search.model.lsa import Projection
from services.search.model.vectors import Model
from services.search.service.cache import LruCache
from services.search.service.units import SearchUnitOfWork

# Of a term: its text, its row, and its place in the table of both.
_TERM_BYTES = 150


@dataclass(frozen=True, slots=True)
class _Kept:
    model_id: UUID
    prune_time: datetime
    projection: Projection

    @property
    def size(self) -> int:
        return self.projection.matrix.nbytes + _TERM_BYTES * len(self.projection.rows)


class Projections:
    """The projections of a process, of as many bytes as they may have.

    Two of a workspace at most: that of the model which serves, and of the one that is made beside it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._cache: LruCache[UUID, tuple[_Kept, ...]] = LruCache(max_bytes)
        # One takes some 30 MB: no two threads shall read the same one.
        self._reading = threading.Lock()

    def of(self, uow: SearchUnitOfWork, model: Model) -> Projection:
        """That of a model, which is read in a session of its workspace. Raises ProjectionDamaged."""
        found = self._find(model)
        if found is None:
            with self._reading:
                found = self._find(model)
                if found is None:
                    found = Projection.from_parts(uow.repo.models.parts(model))
                    self._keep(model, found)
        return found

    def _find(self, model: Model) -> Projection | None:
        kept = self._cache.get(model.workspace_id) or ()
        wanted = model.model_id, model.prune_time
        return next((one.projection for one in kept if (one.model_id, one.prune_time) == wanted), None)

    def _keep(self, model: Model, projection: Projection) -> None:
        others = [one for one in self._cache.get(model.workspace_id) or () if one.model_id != model.model_id]
        kept = (_Kept(model.model_id, model.prune_time, projection), *others[:1])
        self._cache.put(model.workspace_id, kept, sum(one.size for one in kept))
