"""The vectors of passages, kept where the passages are: made before a publish, or in it, never missed by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from uuid import UUID

import numpy as np
import structlog

from services.kernel.clock import Clock
from services.kernel.deadline import reset_deadline, seconds_left, set_deadline
from services.search.embedders.build import Embedders
from services.search.embedders.port import Embedder
from services.search.errors import EmbedderRefused, EmbedderUnavailable
from services.search.model.index import EmbedderKind, Index, VectorSet
from services.search.model.vectors import Model, ModelState
from services.search.service.asking import asking
from services.search.service.projections import Projections
from services.search.service.succession import Succession
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.vectors import Change

# So many batches at most before the caller hears how far it is.
_BATCHES = 8
# What does not serve yet is worth no longer wait: its job comes by anyway.
_PATIENCE_SECONDS = 5.0
_log = structlog.get_logger("plinth.search")


class Semantics:
    """The vectors of the models that serve and that are made."""

    def __init__(
        self,
        units: SearchUnits,
        clock: Clock,
        embedders: Embedders,
        projections: Projections,
        succession: Succession,
        *,
        graph_from: int,
    ) -> None:
        """From `graph_from` passages on, a worker makes a graph of a model's vectors."""
        self._units = units
        self._clock = clock
        self._embedders = embedders
        self._projections = projections
        self._succession = succession
        self._graph_from = graph_from

    def require(self, kind: EmbedderKind) -> None:
        """Let pass only what this instance can embed with. Raises EmbedderNotConfigured."""
        self._embedders.require(kind)

    def sets(self, uow: SearchUnitOfWork, workspace_id: UUID) -> tuple[VectorSet | None, VectorSet | None]:
        """What serves, and what is being made beside it."""
        models = uow.repo.models.by_state(workspace_id)
        live, building = (models.get(state) for state in (ModelState.LIVE, ModelState.BUILDING))
        return _set(uow, live), _set(uow, building)

    def embed(self, workspace_id: UUID, document_id: UUID, version: int) -> int:
        """Give staged passages of a version their vectors, some of those that lack one: how many lack it still.

        Raises EmbedderUnavailable or EmbedderRefused of the model that serves. The one that is being made has a job.
        """
        with self._units(workspace_id) as uow:
            models = uow.repo.models.by_state(workspace_id)
            for model in models.values():
                if model.embedder is EmbedderKind.LSA and model.ready and model.state in _KEPT_UP:
                    # The publish that follows holds the index, and has no time to read it.
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

    def on_published(self, uow: SearchUnitOfWork, index: Index, change: Change) -> None:
        """Bring the vectors to where the passages are, in the unit that publishes and holds the index."""
        models = uow.repo.models.by_state(index.workspace_id)
        for state in _KEPT_UP:
            if (model := models.get(state)) is not None and model.ready:
                self._bring_along(uow, index, model, change)
        uow.repo.vectors.unstage(index.workspace_id, change.document_id)
        self._succession.follow(uow, index)

    def rebuild(self, uow: SearchUnitOfWork, index: Index) -> None:
        """Have all vectors made anew as the settings say it, in a unit that holds the index."""
        self._succession.begin_anew(uow, index)

    def forget(self, uow: SearchUnitOfWork, workspace_id: UUID) -> None:
        """Have the graphs of a purged workspace dropped."""
        index = uow.repo.indexes.get(workspace_id)
        if index is not None:
            for model in uow.repo.models.all(workspace_id):
                self._succession.drop(uow, index, model)

    def _bring_along(self, uow: SearchUnitOfWork, index: Index, model: Model, change: Change) -> None:
        vectors = uow.repo.vectors
        if change.removed:
            vectors.remove(model, change.doc_no, change.removed)
        if change.added and model.embedder is EmbedderKind.LSA:
            projection = self._projections.of(uow, model)
            folded = np.array([projection.fold(terms) for terms in change.terms])
            known = folded.any(axis=1)
            vectors.put(model, np.array(list(change.added.values()), np.int32)[known], folded[known])
        elif change.added:
            put = vectors.publish(
                model, change.document_id, change.doc_no, list(change.added), list(change.added.values())
            )
            if put < len(change.added):
                # They were embedded before there was this model.
                model = replace(model, end_chunk_no=index.next_chunk_no)
                uow.repo.models.save(model)
        if model.state is ModelState.LIVE and not model.whole and self._embedders.may_make(model):
            self._succession.work_on(uow, index, model, why=f"/{model.end_chunk_no}")
        if model.state is ModelState.LIVE and not model.approximate and index.chunk_count >= self._graph_from:
            self._succession.work_on(uow, index, model, why="/graph")

    def _embed(self, model: Model, embedder: Embedder, document_id: UUID, version: int) -> int:
        workspace_id = model.workspace_id
        for _ in range(_BATCHES):
            with self._units(workspace_id) as uow:
                found = uow.repo.vectors.unembedded(model, document_id, version, embedder.max_batch)
            if not found:
                return 0
            with asking(model.embedder):
                vectors = embedder.embed_texts([readable.whole for _, readable in found])
            # They are paid for: whatever comes next, they stay.
            with self._units(workspace_id) as uow:
                ids = [chunk_id for chunk_id, _ in found]
                uow.repo.vectors.stage(model, document_id, ids, vectors, self._clock.now())
                uow.commit()
        with self._units(workspace_id) as uow:
            return uow.repo.vectors.count_unembedded(model, document_id, version)

    def _embedder_of(self, model: Model) -> Embedder | None:
        """The provider of a model's vectors; None where there is none, or another one by now."""
        if model.embedder is EmbedderKind.LSA or not model.ready or not self._embedders.may_make(model):
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


def _set(uow: SearchUnitOfWork, model: Model | None) -> VectorSet | None:
    if model is None:
        return None
    return VectorSet(
        model.embedder,
        model.name,
        model.dimensions,
        uow.repo.vectors.count(model),
        model.approximate,
        model.create_time,
    )
