"""Deletes for good what is no longer kept."""

from datetime import timedelta
from uuid import UUID

from services.kernel.clock import Clock
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.vectors import Vectors

# Longer than any ingestion takes, with all its attempts.
_STAGED_FOR = timedelta(days=7)
_NEWS_FOR = timedelta(days=30)
_QUERIES_FOR = timedelta(days=90)


class Housekeeping:
    """Drops what was staged and never published, old news and queries, and all that a purged workspace had."""

    def __init__(self, units: SearchUnits, clock: Clock, vectors: Vectors) -> None:
        self._units = units
        self._clock = clock
        self._vectors = vectors

    def sweep(self) -> None:
        """Delete what is too old."""
        now = self._clock.now()
        with self._units.system() as uow:
            uow.repo.staged.sweep(now - _STAGED_FOR)
            uow.repo.vectors.sweep(now - _STAGED_FOR)
            uow.repo.news.sweep(now - _NEWS_FOR)
            uow.repo.queries.sweep(now - _QUERIES_FOR)
            uow.commit()

    def forget_workspace(self, uow: SearchUnitOfWork, workspace_id: UUID) -> None:
        """Delete everything that a workspace had here, in a unit of its own session."""
        self._vectors.forget(uow, workspace_id)
        uow.repo.workspaces.forget(workspace_id)
