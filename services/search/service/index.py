"""Use cases of IndexService that people see: how a workspace is searched, and building it anew."""

from dataclasses import replace
from uuid import UUID

from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.etags import check_etag
from services.search.embedders.build import Embedders
from services.search.messages import updated_message
from services.search.model.index import Index, IndexPatch, IndexView
from services.search.service.maintenance import ask_to_maintain
from services.search.service.model_lifecycle import ModelLifecycle
from services.search.service.purging import ask_to_forget_queries
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.vectors import Vectors
from services.search.service.visibility import Viewer, audiences_of


class IndexService:
    """The index of a workspace, which is there as long as the workspace is."""

    def __init__(
        self, units: SearchUnits, clock: Clock, embedders: Embedders, lifecycle: ModelLifecycle, vectors: Vectors
    ) -> None:
        self._units = units
        self._clock = clock
        self._embedders = embedders
        self._lifecycle = lifecycle
        self._vectors = vectors

    def get(self, workspace_id: UUID) -> IndexView:
        """The index."""
        with self._units() as uow:
            index = uow.repo.indexes.get(workspace_id)
            return self._view(uow, index or Index.empty(workspace_id, self._clock.now()))

    def update(self, workspace_id: UUID, etag: str, patch: IndexPatch) -> IndexView:
        """The index after the patch. Raises EtagRequired, EtagMismatch or EmbedderNotConfigured."""
        if patch.embedder is not None:
            self._embedders.require(patch.embedder)
        with self._units() as uow:
            before = uow.repo.indexes.lock(workspace_id, self._clock.now())
            check_etag(etag, before.version, before.name)
            after = replace(
                before,
                embedder=before.embedder if patch.embedder is None else patch.embedder,
                log_queries=before.log_queries if patch.log_queries is None else patch.log_queries,
            )
            if after == before:
                return self._view(uow, before)
            after = replace(after, version=before.version + 1)
            uow.repo.indexes.set_up(after)
            if after.embedder is not before.embedder:
                self._lifecycle.begin_anew(uow, after)
            if before.log_queries and not after.log_queries:
                ask_to_forget_queries(uow, after)
            uow.emit(after.name, updated_message(before, after))
            view = self._view(uow, after)
            uow.commit()
        return view

    def rebuild(self, workspace_id: UUID) -> IndexView:
        """The index, to be built anew by a worker: postings and vectors. While one is at it, nothing more begins."""
        with self._units() as uow:
            index = uow.repo.indexes.lock(workspace_id, self._clock.now())
            view = self._view(uow, index)
            if not index.rebuilding:
                uow.repo.indexes.want_rebuild(workspace_id)
                self._lifecycle.begin_anew(uow, index)
            ask_to_maintain(uow, workspace_id)
            uow.commit()
        return view

    def _view(self, uow: SearchUnitOfWork, index: Index) -> IndexView:
        """As far as the caller sees it: what is hidden from them is counted nowhere."""
        live, building = self._vectors.sets(uow, index.workspace_id)
        audiences = audiences_of(uow, Viewer.of(current_caller().require_grant()))
        if audiences is not None:
            seen = uow.repo.audiences.counts(index.workspace_id, audiences)
            return IndexView(index, (), live, building).as_seen(seen)
        return IndexView(index, index.spoken, live, building)
