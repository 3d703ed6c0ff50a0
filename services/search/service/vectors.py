"""The vectors of passages, kept where the passages are: made before a publish, or in it, never missed by it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray

from services.kernel.clock import Clock
from services.kernel.deadline import reset_deadline, seconds_left, set_deadline
from services.search.embedders.build import Embedders
from services.search.embedders.guarded import GuardedEmbedder
from services.search.errors import EmbedderRefused, EmbedderUnavailable
from services.search.model.index import Index, VectorSet
from services.search.model.vectors import AT_ONCE, Model, ModelState
from services.search.repository.vectors import Numbered
from services.search.service.model_lifecycle import ModelLifecycle
from services.search.service.projections import Projections
from services.search.service.units import SearchUnitOfWork, SearchUnits

# So many batches at most before the caller hears how far it is.
_BATCHES = 8
# What does not serve yet is worth no longer wait: its job comes by anyway.
_PATIENCE_SECONDS = 5.0
# Where there was no room for a graph, it is asked for again so much later.
_GRAPH_AGAIN = timedelta(hours=1)
_log = structlog.get_logger("plinth.search")

Folded = Mapping[UUID, NDArray[np.float32]]
"""For each model that makes vectors of terms a row for each passage; 0 where it knows none of them."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a publish changed: numbers of new passages by their ids, and numbers that are gone.

    `folded` are the vectors of the new ones, in order, as far as they were made before.
    """

    document_id: UUID
    doc_no: int
    added: Mapping[UUID, int]
    folded: Folded
    removed: Sequence[int]


class Vectors:
    """The vectors of the models that serve and that are made.

    From `graph_from` passages on, a worker makes a graph of a model's vectors.
    """

    def __init__(
        self,
        units: SearchUnits,
        clock: Clock,
        embedders: Embedders,
        projections: Projections,
        lifecycle: ModelLifecycle,
        *,
        graph_from: int,
    ) -> None:
        self._units = units
        self._clock = clock
        self._embedders = embedders
        self._projections = projections
        self._lifecycle = lifecycle
        self._graph_from = graph_from

    def sets(self, uow: SearchUnitOfWork, workspace_id: UUID) -> tuple[VectorSet | None, VectorSet | None]:
        """What serves, and what is being made beside it."""
        models = uow.repo.models.by_state(workspace_id)
        live, building = (models.get(state) for state in (ModelState.LIVE, ModelState.BUILDING))
        return (live.vectors if live else None), (building.vectors if building else None)

    def embed(self, workspace_id: UUID, document_id: UUID, version: int) -> int:
        """Give staged passages of a version their vectors, some of those that lack one: how many lack it still.

        Raises EmbedderUnavailable or EmbedderRefused of the model that serves. The one that is being made has a job.
        """
        with self._units(workspace_id) as uow:
            models = uow.repo.models.by_state(workspace_id)
            for model in models.values():
                if model.latent and model.ready and model.state in _KEPT_UP:
                    # The publish that follows needs it.
                    self._projections.of(uow, model)
        remaining = 0
        live, building = (models.get(state) for state in (ModelState.LIVE, ModelState.BUILDING))
        if live is not None and (embedder := self._embedder_of(live)) is not None:
            remaining += self._embed(live, embedder, document_id, version)
        if building is not None and (embedder := self._embedder_of(building)) is not None:
            try:
                with _no_longer_than(_PATIENCE_SECONDS):
                    remaining += self._embed(building, embedder, document_id, version)
            except (EmbedderUnavailable, EmbedderRefused) as error:
                _log.info("embedding.left", workspace=str(workspace_id), reason=error.reason)
        return remaining

    def fold(self, uow: SearchUnitOfWork, workspace_id: UUID, terms: Sequence[Mapping[str, int]]) -> Folded:
        """The vectors of passages with these terms, to be published soon. It takes its time, and nobody to wait."""
        if not terms:
            return {}
        models = uow.repo.models.by_state(workspace_id)
        folded: dict[UUID, NDArray[np.float32]] = {}
        for state in _KEPT_UP:
            if (model := models.get(state)) is not None and model.latent and model.ready:
                projection = self._projections.of(uow, model)
                folded[model.model_id] = np.array([projection.fold(one) for one in terms])
        return folded

    def on_published(self, uow: SearchUnitOfWork, index: Index, change: Change) -> None:
        """Bring the vectors to where the passages are, in the unit that publishes and holds the index.

        The staged passages of the document are gone already. Deleting a document is a change that removes all. What has
        no vector by now gets one from the model's job.
        """
        models = uow.repo.models.by_state(index.workspace_id)
        for state in _KEPT_UP:
            if (model := models.get(state)) is not None and model.ready:
                self._bring_along(uow, index, model, change)
        uow.repo.vectors.unstage(index.workspace_id, change.document_id)
        self._lifecycle.follow(uow, index)

    def _bring_along(self, uow: SearchUnitOfWork, index: Index, before: Model, change: Change) -> None:
        vectors, model = uow.repo.vectors, before
        if change.removed:
            removed = vectors.remove(model, change.doc_no, change.removed)
            model = replace(model, vector_count=model.vector_count - removed)
        if change.added:
            added, whole = self._add(uow, model, change)
            model = replace(model, vector_count=model.vector_count + added)
            if not whole:
                # They were analysed or embedded before there was this model; or they are too many.
                model = replace(model, end_chunk_no=index.next_chunk_no)
        if model != before:
            uow.repo.models.save(model)
        if model.state is ModelState.LIVE:
            self._lifecycle.catch_up(uow, model)
            if index.chunk_count >= self._graph_from and self._lacks_graph(model):
                self._lifecycle.work_on(uow, model, why="/graph")

    def _lacks_graph(self, model: Model) -> bool:
        """Whether there might be room for one by now."""
        last = model.graph_time
        return not model.approximate and (last is None or last <= self._clock.now() - _GRAPH_AGAIN)

    def _add(self, uow: SearchUnitOfWork, model: Model, change: Change) -> tuple[int, bool]:
        """Insert the vectors of new passages: how many, and whether they are all that there can be."""
        if not model.latent:
            if len(change.added) > AT_ONCE:
                return 0, False
            added = [Numbered(change.document_id, change.doc_no, *one) for one in change.added.items()]
            put = uow.repo.vectors.publish(model, added)
            return put, put == len(added)
        folded = change.folded.get(model.model_id)
        if folded is None:
            return 0, False
        numbers, known = np.array(list(change.added.values()), np.int32), folded.any(axis=1)
        return uow.repo.vectors.put(model, numbers[known], folded[known]), True

    def _embed(self, model: Model, embedder: GuardedEmbedder, document_id: UUID, version: int) -> int:
        workspace_id = model.workspace_id
        for _ in range(_BATCHES):
            with self._units(workspace_id) as uow:
                found = uow.repo.vectors.unembedded(model, document_id, version, embedder.max_batch)
            if not found:
                return 0
            vectors = embedder.embed_texts([readable.whole for _, readable in found])
            # They are paid for: whatever comes next, they stay.
            with self._units(workspace_id) as uow:
                ids = [chunk_id for chunk_id, _ in found]
                uow.repo.vectors.stage(model, document_id, ids, vectors, self._clock.now())
                uow.commit()
        with self._units(workspace_id) as uow:
            return uow.repo.vectors.count_unembedded(model, document_id, version)

    def _embedder_of(self, model: Model) -> GuardedEmbedder | None:
        """The provider of a model's vectors; None where there is none, or another one by now."""
        if model.latent or not model.ready or not self._embedders.may_make(model):
            return None
        return self._embedders.of(model.embedder)


_KEPT_UP = (ModelState.LIVE, ModelState.BUILDING)


@contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    token = set_deadline(monotonic() + seconds_left(seconds))
    try:
        yield
    finally:
        reset_deadline(token)
