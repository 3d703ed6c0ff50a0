"""What latent semantic models have learnt, kept in the process. It never changes, so a model's id is its key."""

import threading
from uuid import UUID

from services.search.model.lsa import Projection
from services.search.model.vectors import Model
from services.search.service.memory import Memory
from services.search.service.units import SearchUnitOfWork

# Of a term: its text, its row, and its place in the table of both.
_TERM_BYTES = 150


class Projections:
    """The projections of a process, of as many bytes as they may have."""

    def __init__(self, max_bytes: int) -> None:
        self._memory: Memory[UUID, Projection] = Memory(max_bytes)
        # One takes some 30 MB: no two threads shall read the same one.
        self._reading = threading.Lock()

    def of(self, uow: SearchUnitOfWork, model: Model) -> Projection:
        """That of a model, which is read in a session of its workspace. Raises ProjectionDamaged."""
        found = self._memory.get(model.model_id)
        if found is None:
            with self._reading:
                found = self._memory.get(model.model_id)
                if found is None:
                    found = Projection.from_parts(uow.repo.models.parts(model))
                    size = found.matrix.nbytes + _TERM_BYTES * len(found.rows)
                    self._memory.put(model.model_id, found, size)
        return found
