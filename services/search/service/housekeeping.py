"""Deletes for good what is no longer kept, and has others look after what is left."""

from collections.abc import Callable
from datetime import timedelta

from services.kernel.clock import Clock
from services.search.service.forgetting import Forgetting
from services.search.service.maintenance import IndexMaintenance
from services.search.service.preparing import retire_all
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.vector_builds import VectorBuilds

# Longer than any ingestion takes, with all its attempts.
_STAGED_FOR = timedelta(days=7)
_NEWS_FOR = timedelta(days=30)
_QUERIES_FOR = timedelta(days=90)
_ROWS = 5_000
_WORKSPACES = 1_000


class Housekeeping:
    """Drops what was staged and never published, old news and queries, and has workers do what takes long."""

    def __init__(
        self,
        units: SearchUnits,
        clock: Clock,
        maintenance: IndexMaintenance,
        builds: VectorBuilds,
        forgetting: Forgetting,
    ) -> None:
        self._units = units
        self._clock = clock
        self._maintenance = maintenance
        self._builds = builds
        self._forgetting = forgetting

    def sweep(self) -> None:
        """Delete what is too old, and have indexes looked after where that is due."""
        now = self._clock.now()
        self._in_batches(lambda uow: uow.repo.staged.sweep(now - _STAGED_FOR, _ROWS))
        self._in_batches(lambda uow: uow.repo.vectors.sweep(now - _STAGED_FOR, _ROWS))
        self._in_batches(lambda uow: uow.repo.news.sweep(now - _NEWS_FOR, _ROWS))
        self._in_batches(lambda uow: uow.repo.queries.sweep(now - _QUERIES_FOR, _ROWS))
        self._retire_segments()
        self._maintenance.ask_where_due()
        self._builds.ask_where_due()
        self._forgetting.end()

    def _in_batches(self, sweep: Callable[[SearchUnitOfWork], int]) -> None:
        deleted = _ROWS
        while deleted == _ROWS:
            with self._units.system() as uow:
                deleted = sweep(uow)
                uow.commit()

    def _retire_segments(self) -> None:
        """Have segments deleted that were written for a publish which never came."""
        now = self._clock.now()
        with self._units.system() as uow:
            old = uow.repo.staged_segments.old(now - _STAGED_FOR, _WORKSPACES)
        for workspace_id, segment_ids in old:
            with self._units(workspace_id) as uow:
                index = uow.repo.indexes.get(workspace_id)
                if index is not None:
                    retire_all(uow, index, segment_ids)
                    uow.commit()
