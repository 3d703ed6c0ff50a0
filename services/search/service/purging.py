"""Deletes much, bit by bit: all of a purged workspace, and the log of queries where none is wanted any more.

The commit that wants it gone says so in the index; what others do looks there. A job deletes the rows, as many in a
commit as it has time for, and the next one goes on where it was cut off. The index of a purged workspace stays for a
day, lest one who was at work there makes another one; what they left goes with it.
"""

from datetime import timedelta
from uuid import UUID

from services.kernel.clock import Clock
from services.kernel.jobs import Check, NewJob, Wait
from services.search.model.index import Index
from services.search.model.names import INDEX
from services.search.service.units import QUEUE, SearchUnitOfWork, SearchUnits
from services.search.service.vector_builds import VectorBuilds

PURGE = "search.purge"
FORGET_QUERIES = "search.queries.forget"
_ROWS = 5_000
_KEPT_FOR = timedelta(days=1)
# So many workspaces are seen to the end by one sweep.
_WORKSPACES = 1_000


def ask_to_forget_queries(uow: SearchUnitOfWork, index: Index) -> None:
    """Have a worker delete the log of queries, once this commits."""
    # A job that runs may have looked before the wish changed.
    _ask(uow, FORGET_QUERIES, index.workspace_id, why=f"/{index.version}")


class Purging:
    """What the jobs do. `check` raises what ends one early, and is called between two commits; so does `wait`."""

    def __init__(self, units: SearchUnits, clock: Clock, builds: VectorBuilds) -> None:
        self._units = units
        self._clock = clock
        self._builds = builds

    def begin(self, uow: SearchUnitOfWork, workspace_id: UUID) -> None:
        """Let nothing be published any more, in a unit of the workspace, and have a worker delete what there is."""
        uow.repo.indexes.purge(workspace_id, self._clock.now())
        _ask(uow, PURGE, workspace_id)

    def purge(self, workspace_id: UUID, check: Check, wait: Wait) -> None:
        """Delete all that a purged workspace has; in the end, a day later, its index, too."""
        with self._units(workspace_id) as uow:
            models = uow.repo.models.all(workspace_id)
        for model in models:
            self._builds.drop(workspace_id, model.model_id, check, wait)
        more = True
        while more:
            check()
            with self._units(workspace_id) as uow:
                more = uow.repo.workspaces.forget_some(workspace_id, _ROWS)
                if not more:
                    uow.repo.indexes.remove(workspace_id, self._clock.now() - _KEPT_FOR)
                uow.commit()

    def forget_queries(self, workspace_id: UUID, check: Check) -> None:
        """Delete the log of queries, unless it is wanted again."""
        more = True
        while more:
            check()
            with self._units(workspace_id) as uow:
                index = uow.repo.indexes.get(workspace_id)
                more = index is not None and not index.log_queries
                more = more and uow.repo.queries.remove_some(workspace_id, _ROWS)
                uow.commit()

    def ask_where_due(self) -> None:
        """Have workers see to what was purged a day ago, and to queries that are kept although none is wanted."""
        with self._units.system() as uow:
            for workspace_id in uow.repo.indexes.long_purged(self._clock.now() - _KEPT_FOR, _WORKSPACES):
                _ask(uow, PURGE, workspace_id, why="/end")
            for workspace_id in uow.repo.indexes.unlogged():
                _ask(uow, FORGET_QUERIES, workspace_id)
            uow.commit()


def _ask(uow: SearchUnitOfWork, kind: str, workspace_id: UUID, *, why: str = "") -> None:
    name = INDEX.format(workspace=workspace_id)
    uow.enqueue(NewJob(QUEUE, kind, workspace_id=workspace_id, unique_key=f"{name}{why}", subject=name))
