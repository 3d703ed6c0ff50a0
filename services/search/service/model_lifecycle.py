"""Which model serves a workspace, which is made beside it, and which goes: what follows from what, in one commit each.

All of it happens in units that hold the index. Whatever is still to be done for a model is a job of that model's own;
so there is no moment in which it can be forgotten.
"""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from services.kernel.clock import Clock
from services.kernel.ids import new_id
from services.kernel.jobs import NewJob
from services.search.embedders.build import Embedders
from services.search.messages import swapped_message
from services.search.model.index import EmbedderKind, Index
from services.search.model.lsa import MIN_CHUNKS
from services.search.model.names import INDEX
from services.search.model.vectors import Model, ModelState, outgrown
from services.search.service.units import QUEUE, SearchUnitOfWork, SearchUnits

BUILD = "search.vectors.build"
DROP = "search.vectors.drop"
PRUNE = "search.vectors.prune"
_PRUNED_EVERY = timedelta(days=7)
# With an hour between the later ones, a provider may be away for days.
_ATTEMPTS = 100


class ModelLifecycle:
    """The states of models."""

    def __init__(self, units: SearchUnits, clock: Clock, embedders: Embedders) -> None:
        self._units = units
        self._clock = clock
        self._embedders = embedders

    def begin_anew(self, uow: SearchUnitOfWork, index: Index) -> None:
        """Have a model made as the settings say it. One that is being made as they say goes on."""
        models = uow.repo.models.by_state(index.workspace_id)
        building, live = models.get(ModelState.BUILDING), models.get(ModelState.LIVE)
        if building is not None and building.embedder is index.embedder and self._embedders.may_make(building):
            # Its job may have been given up.
            self.work_on(uow, building)
            return
        if building is not None:
            self.retire(uow, building)
        if index.embedder is EmbedderKind.NONE or _too_small(index):
            self._end(uow, index, live)
        else:
            self._begin(uow, index, models)

    def follow(self, uow: SearchUnitOfWork, index: Index) -> None:
        """See after a publish, or a swap, whether another model is wanted."""
        models = uow.repo.models.by_state(index.workspace_id)
        building, live = models.get(ModelState.BUILDING), models.get(ModelState.LIVE)
        if index.embedder is EmbedderKind.NONE:
            return
        if building is not None:
            if self._embedders.may_make(building) or not self._embedders.has(building.embedder):
                return
            # The settings of the instance have changed since it was begun.
            self.retire(uow, building)
        if index.embedder is not EmbedderKind.LSA:
            if self._embedders.has(index.embedder) and (live is None or not self._embedders.may_make(live)):
                self._begin(uow, index, models)
            return
        fitted = models.get(ModelState.VOID, live)
        if fitted is not None and not outgrown(fitted.fitted_chunks, index.chunk_count):
            return
        if _too_small(index):
            self._end(uow, index, live)
        else:
            self._begin(uow, index, models)

    def turn_live(self, uow: SearchUnitOfWork, index: Index, model: Model) -> None:
        """Let a model serve that is whole, and the one before go."""
        before = uow.repo.models.live(index.workspace_id)
        if before is not None:
            self.retire(uow, before)
        model = replace(model, state=ModelState.LIVE)
        uow.repo.models.save(model)
        uow.emit(index.name, swapped_message(index, model.vectors))
        self.follow(uow, index)

    def turn_void(self, uow: SearchUnitOfWork, index: Index, model: Model) -> None:
        """Remember that of so many passages nothing could be learnt. What another embedder has made goes."""
        uow.repo.models.save(replace(model, state=ModelState.VOID, fitted_chunks=index.chunk_count))
        live = uow.repo.models.live(index.workspace_id)
        if live is not None and live.embedder is not index.embedder:
            self._end(uow, index, live)

    def retire(self, uow: SearchUnitOfWork, model: Model) -> None:
        """Have a worker delete a model, and what it has beside its rows."""
        uow.repo.models.save(replace(model, state=ModelState.RETIRED))
        _ask(uow, DROP, model.workspace_id, model.model_id)

    def work_on(self, uow: SearchUnitOfWork, model: Model, *, why: str = "") -> None:
        """Have a worker do what a model lacks; `why` tells apart what one job may have looked at already."""
        _ask(uow, BUILD, model.workspace_id, model.model_id, why)

    def catch_up(self, uow: SearchUnitOfWork, model: Model) -> None:
        """Have a worker make the vectors that passages lack under a model that serves."""
        if not model.whole and self._embedders.may_make(model):
            self.work_on(uow, model, why=f"/{model.end_chunk_no}")

    def ask_where_due(self) -> None:
        """Have workers look for words that nobody has any more, and do what is left of jobs that were given up."""
        with self._units.system() as uow:
            for model in uow.repo.models.unpruned(self._clock.now() - _PRUNED_EVERY):
                _ask(uow, PRUNE, model.workspace_id, model.model_id)
            for model in uow.repo.models.unfinished():
                if model.state is ModelState.RETIRED:
                    _ask(uow, DROP, model.workspace_id, model.model_id)
                elif model.state is ModelState.BUILDING:
                    self.work_on(uow, model)
                else:
                    self.catch_up(uow, model)
            for workspace_id, model_id in uow.repo.models.lost_graphs():
                _ask(uow, DROP, workspace_id, model_id)
            uow.commit()

    def _begin(self, uow: SearchUnitOfWork, index: Index, models: dict[ModelState, Model]) -> None:
        void = models.get(ModelState.VOID)
        if void is not None:
            uow.repo.models.remove(index.workspace_id, void.model_id)
        now = self._clock.now()
        model = Model(
            workspace_id=index.workspace_id,
            model_id=new_id(),
            embedder=index.embedder,
            name="",
            dimensions=0,
            state=ModelState.BUILDING,
            fitted_chunks=0,
            next_chunk_no=0,
            end_chunk_no=0,
            approximate=False,
            vector_count=0,
            create_time=now,
            prune_time=now,
        )
        uow.repo.models.add(model)
        self.work_on(uow, model)

    def _end(self, uow: SearchUnitOfWork, index: Index, live: Model | None) -> None:
        if live is not None:
            self.retire(uow, live)
            uow.emit(index.name, swapped_message(index, None))


def _too_small(index: Index) -> bool:
    return index.embedder is EmbedderKind.LSA and index.chunk_count < MIN_CHUNKS


def _ask(uow: SearchUnitOfWork, kind: str, workspace_id: UUID, model_id: UUID, why: str = "") -> None:
    uow.enqueue(
        NewJob(
            QUEUE,
            kind,
            model_id.bytes,
            workspace_id=workspace_id,
            unique_key=f"{model_id}{why}",
            subject=INDEX.format(workspace=workspace_id),
            max_attempts=_ATTEMPTS,
        )
    )
