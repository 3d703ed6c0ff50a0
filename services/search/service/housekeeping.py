"""Deletes for good what is no longer kept, and has others look after what is left."""

from collections.abc import Callable
from datetime import timedelta

from services.kernel.caller import acting_itself
from services.kernel.clock import Clock
from services.kernel.jobs import Check, NewJob
from services.search.service.maintenance import IndexMaintenance
from services.search.service.model_lifecycle import ModelLifecycle
from services.search.service.preparing import retire_all
from services.search.service.purging import Purging
from services.search.service.units import QUEUE, SERVICE, SearchUnitOfWork, SearchUnits
from services.search.service.vocabulary import VocabularyCounts

SWEEP = "search.sweep"
# Longer than any ingestion takes, with all its attempts.
_STAGED_FOR = timedelta(days=7)
_CHANGES_FOR = timedelta(days=30)
_QUERIES_FOR = timedelta(days=90)
_ROWS = 5_000
_WORKSPACES = 1_000


class Housekeeping:
    """Drops what was staged and never published, old changes and queries, and has workers do what takes long."""

    def __init__(
        self,
        units: SearchUnits,
        clock: Clock,
        maintenance: IndexMaintenance,
        vocabulary: VocabularyCounts,
        lifecycle: ModelLifecycle,
        purging: Purging,
    ) -> None:
        self._units = units
        self._clock = clock
        self._maintenance = maintenance
        self._vocabulary = vocabulary
        self._lifecycle = lifecycle
        self._purging = purging

    def ask(self) -> None:
        """Have a worker sweep, unless one is at it already."""
        with acting_itself(SERVICE), self._units.system() as uow:
            uow.enqueue(NewJob(QUEUE, SWEEP, unique_key=SWEEP))
            uow.commit()

    def sweep(self, check: Check) -> None:
        """Delete what is too old, and have workers do what is due and no job will do.

        `check` raises what ends it early, and is called between two commits.
        """
        now = self._clock.now()
        self._in_batches(lambda uow: uow.repo.staged.sweep(now - _STAGED_FOR, _ROWS), check)
        self._in_batches(lambda uow: uow.repo.vectors.sweep(now - _STAGED_FOR, _ROWS), check)
        self._in_batches(lambda uow: uow.repo.changes.sweep(now - _CHANGES_FOR, _ROWS), check)
        self._in_batches(lambda uow: uow.repo.queries.sweep(now - _QUERIES_FOR, _ROWS), check)
        self._retire_segments(check)
        self._maintenance.ask_where_due()
        self._vocabulary.ask_where_due()
        self._lifecycle.ask_where_due()
        self._purging.ask_where_due()

    def _in_batches(self, sweep: Callable[[SearchUnitOfWork], int], check: Check) -> None:
        deleted = _ROWS
        while deleted == _ROWS:
            check()
            with self._units.system() as uow:
                deleted = sweep(uow)
                uow.commit()

    def _retire_segments(self, check: Check) -> None:
        """Have segments deleted that were written for a publish which never came."""
        now = self._clock.now()
        with self._units.system() as uow:
            old = uow.repo.staged_segments.old(now - _STAGED_FOR, _WORKSPACES)
        for workspace_id, segment_ids in old:
            check()
            with self._units(workspace_id) as uow:
                retire_all(uow, workspace_id, segment_ids)
                uow.commit()
