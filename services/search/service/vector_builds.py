"""Makes the vectors of a model beside what serves, and lets it serve when no passage lacks its own.

First it is found out what makes them: a latent semantic model is fitted, a provider's is asked for. That commits with
the number of the next passage, while no publish is under way: whatever is published from then on brings its vectors
along, and all that was published before is the job's. Its progress commits with the vectors, so a worker that is
killed costs one range of them. The last commit looks once more, holds off publishes, and swaps. Two workers at one
model, which only a lost lease can bring about, do some of the work twice, and change nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.kernel.clock import Clock
from services.kernel.errors import ConcurrentUpdate
from services.kernel.jobs import Check, Wait
from services.search.embedders.build import Embedders
from services.search.embedders.guarded import GuardedEmbedder
from services.search.embedders.lsa import LsaChild
from services.search.errors import EmbedderNotConfigured, EmbedderRefused, IndexPurged
from services.search.model.index import Index
from services.search.model.lsa import Projection, dimensions_of, sample
from services.search.model.segments import Segment, SegmentState
from services.search.model.vectors import AT_ONCE, Model, ModelState
from services.search.repository.graphs import Graphs
from services.search.service.model_lifecycle import ModelLifecycle
from services.search.service.units import SearchUnitOfWork, SearchUnits

# So many passages are folded at once, so many terms looked for, so many rows deleted.
_FOLDED = 20_000
_TERMS = 5_000
_DELETED = 5_000
_TRIES = 5


class _Superseded(Exception):
    """The model is not wanted any more."""


class VectorBuilds:
    """What the jobs do. `check` raises what ends one early; so does `wait`, which sleeps for so many seconds.

    From `graph_from` passages on, a model's vectors get a graph.
    """

    def __init__(
        self,
        units: SearchUnits,
        clock: Clock,
        embedders: Embedders,
        lifecycle: ModelLifecycle,
        graphs: Graphs,
        *,
        graph_from: int,
    ) -> None:
        self._units = units
        self._clock = clock
        self._embedders = embedders
        self._lifecycle = lifecycle
        self._graphs = graphs
        self._graph_from = graph_from

    def build(self, workspace_id: UUID, model_id: UUID, check: Check, wait: Wait) -> None:
        """Do all that a model lacks; nothing where it is not wanted any more.

        Raises EmbedderUnavailable, EmbedderRefused, EmbedderNotConfigured, ChildFailed or ConcurrentUpdate.
        """
        try:
            model = self._prepared(workspace_id, model_id, check)
            while model is not None:
                model = self._filled(model, check)
                model = self._finished(*self._with_graph(model, wait))
        except (_Superseded, IndexPurged):
            # Whoever had it deleted may have been done before the graph was there.
            self._graphs.drop(model_id, wait)

    def drop(self, workspace_id: UUID, model_id: UUID, check: Check, wait: Wait) -> None:
        """Delete a model and all that it has."""
        removed = _DELETED
        while removed == _DELETED:
            check()
            with self._units(workspace_id) as uow:
                removed = uow.repo.vectors.remove_some(workspace_id, model_id, _DELETED)
                uow.commit()
        self._graphs.drop(model_id, wait)
        with self._units(workspace_id) as uow:
            uow.repo.models.remove(workspace_id, model_id)
            uow.commit()

    def prune(self, workspace_id: UUID, model_id: UUID, check: Check) -> None:
        """Have a latent semantic model that serves forget the terms that no passage has any more."""
        with self._units(workspace_id) as uow:
            model = uow.repo.models.get(workspace_id, model_id)
            if model is None or model.state is not ModelState.LIVE:
                return
            projection = Projection.from_parts(uow.repo.models.parts(model))
        terms, gone = list(projection.rows), set[str]()
        for start in range(0, len(terms), _TERMS):
            check()
            with self._units(workspace_id) as uow:
                gone |= uow.repo.postings.lacking(workspace_id, terms[start : start + _TERMS])
        with self._units(workspace_id) as uow:
            uow.repo.indexes.lock(workspace_id, self._clock.now())
            if uow.repo.models.get(workspace_id, model_id) is None:
                return
            # Somebody may have published one of these words again.
            gone = uow.repo.postings.lacking(workspace_id, list(gone))
            if gone:
                uow.repo.models.replace_parts(model, projection.without(gone).to_parts())
            uow.repo.models.mark_pruned(model, self._clock.now())
            uow.commit()

    def _prepared(self, workspace_id: UUID, model_id: UUID, check: Check) -> Model | None:
        """The model, once it is known what makes its vectors; None where that cannot be. Raises _Superseded."""
        with self._units(workspace_id) as uow:
            model = _wanted(uow.repo.models.get(workspace_id, model_id))
        if model.ready:
            return model
        parts: list[bytes] = []
        if model.latent:
            fitted = self._fit(workspace_id, check)
            if fitted is None:
                self._give_up(model)
                return None
            parts, fitted_chunks = fitted
            dimensions = dimensions_of(parts)
            model = replace(model, name=f"lsa-{dimensions}", dimensions=dimensions, fitted_chunks=fitted_chunks)
        else:
            embedder = self._embedders.of(model.embedder)
            model = replace(model, name=embedder.name, dimensions=embedder.dimensions)
        with self._units(workspace_id) as uow:
            index, now = self._hold(uow, model)
            if now.ready:
                return now
            model = replace(model, end_chunk_no=index.next_chunk_no)
            uow.repo.models.add_parts(model, parts)
            uow.repo.models.save(model)
            uow.commit()
        return model

    def _fit(self, workspace_id: UUID, check: Check) -> tuple[list[bytes], int] | None:
        """What there is to learn, and of how many passages; None: too little. Raises ChildFailed, ConcurrentUpdate."""
        for _ in range(_TRIES):
            with self._units(workspace_id) as uow:
                index = uow.repo.indexes.get(workspace_id)
                end = index.next_chunk_no if index is not None else 0
                numbers = np.flatnonzero(uow.repo.segments.doc_nos(workspace_id, 0, end) >= 0).astype(np.int32)
                numbers = np.setdiff1d(numbers, uow.repo.segments.dead(workspace_id, 0, end), assume_unique=True)
            with LsaChild(check) as child:
                child.begin(sample(numbers))
                if self._hand_over(workspace_id, child, numbers, check):
                    parts = child.fit()
                    return (parts, len(numbers)) if parts is not None else None
        raise ConcurrentUpdate

    def _give_up(self, model: Model) -> None:
        with self._units(model.workspace_id) as uow:
            index, now = self._hold(uow, model)
            self._lifecycle.turn_void(uow, index, now)
            uow.commit()

    def _filled(self, model: Model, check: Check) -> Model:
        """The model when its job owes nothing any more, as far as can be seen. Raises _Superseded."""
        if model.whole:
            return model
        return self._folded(model, check) if model.latent else self._asked(self._moved(model, check), check)

    def _folded(self, model: Model, check: Check) -> Model:
        with self._units(model.workspace_id) as uow:
            parts = uow.repo.models.parts(model)
        with LsaChild(check) as child:
            child.load(parts)
            while not model.whole:
                check()
                with self._units(model.workspace_id) as uow:
                    numbers = uow.repo.vectors.lacking(model, _FOLDED)
                child.begin(numbers)
                if not self._hand_over(model.workspace_id, child, numbers, check):
                    continue
                vectors = child.fold()
                last = model.end_chunk_no if len(numbers) < _FOLDED else numbers[-1] + 1
                for start, end in enumerate([*numbers[AT_ONCE::AT_ONCE], last]):
                    check()
                    some = slice(start * AT_ONCE, (start + 1) * AT_ONCE)
                    model = self._written(model, numbers[some], vectors[some], int(end))
        return model

    def _moved(self, model: Model, check: Check) -> Model:
        """The model with the vectors of long documents, which were made before they were published."""
        first = model.next_chunk_no
        while first < model.end_chunk_no:
            check()
            with self._units(model.workspace_id) as uow:
                _, model = self._hold(uow, model)
                owed = uow.repo.vectors.owed(model, first, AT_ONCE)
                if moved := uow.repo.vectors.publish(model, owed):
                    model = replace(model, vector_count=model.vector_count + moved)
                    uow.repo.models.save(model)
                    uow.commit()
            first = model.end_chunk_no if len(owed) < AT_ONCE else owed[-1].chunk_no + 1
        return model

    def _asked(self, model: Model, check: Check) -> Model:
        if not self._embedders.may_make(model):
            raise EmbedderNotConfigured(model.embedder.wire_name)
        embedder = self._embedders.of(model.embedder)
        while not model.whole:
            check()
            with self._units(model.workspace_id) as uow:
                found = uow.repo.vectors.lacking_texts(model, embedder.max_batch)
            numbers = np.array([number for number, _ in found], np.int32)
            vectors = _embedded(embedder, model, [readable.whole for _, readable in found])
            end = model.end_chunk_no if len(found) < embedder.max_batch else int(numbers[-1]) + 1
            model = self._written(model, numbers, vectors, end)
        return model

    def _hand_over(self, workspace_id: UUID, child: LsaChild, numbers: NDArray[np.int32], check: Check) -> bool:
        """Give the child all postings of passages between the first and the last. False: a merge took some away."""
        if not len(numbers):
            return True
        first, last = numbers[0], numbers[-1]
        segments = [one for one in self._live(workspace_id) if first <= one.last_no and one.first_no <= last]
        for segment in segments:
            source = [segment.segment_id]
            with self._units(workspace_id) as uow:
                bounds = uow.repo.postings.bounds(workspace_id, source)
            for after, upto in pairwise(["", *bounds]):
                check()
                with self._units(workspace_id) as uow:
                    [terms] = uow.repo.postings.between(workspace_id, source, after, upto)
                child.add(terms)
        still = {segment.segment_id for segment in self._live(workspace_id)}
        return all(segment.segment_id in still for segment in segments)

    def _live(self, workspace_id: UUID) -> Sequence[Segment]:
        with self._units(workspace_id) as uow:
            return uow.repo.segments.list_in(workspace_id, SegmentState.LIVE, count_dead=False)

    def _written(
        self, model: Model, numbers: NDArray[np.int32], vectors: NDArray[np.float32], next_chunk_no: int
    ) -> Model:
        """The model after these vectors, as far as they say anything, with its progress."""
        with self._units(model.workspace_id) as uow:
            _, now = self._hold(uow, model)
            telling = vectors.any(axis=1)
            put = uow.repo.vectors.put(now, numbers[telling], vectors[telling])
            now = replace(now, vector_count=now.vector_count + put, next_chunk_no=max(now.next_chunk_no, next_chunk_no))
            uow.repo.models.save(now)
            uow.commit()
        return now

    def _with_graph(self, model: Model, wait: Wait) -> tuple[Model, bool]:
        """The model, with a graph where there are enough passages and room for one; and whether there were enough."""
        with self._units(model.workspace_id) as uow:
            index = uow.repo.indexes.get(model.workspace_id)
        if index is None or index.chunk_count < self._graph_from:
            return model, False
        made = self._graphs.make(model.workspace_id, model.model_id, model.dimensions, wait)
        return replace(model, approximate=made), True

    def _finished(self, model: Model, large: bool) -> Model | None:
        """None when it is done; the model where a publish has left something to do meanwhile. Raises _Superseded."""
        with self._units(model.workspace_id) as uow:
            index, now = self._hold(uow, model)
            no_room = self._clock.now() if large and not model.approximate else None
            now = replace(now, approximate=model.approximate, graph_time=no_room)
            if not now.whole or (index.chunk_count >= self._graph_from and not large):
                return now
            if now.state is ModelState.BUILDING:
                self._lifecycle.turn_live(uow, index, now)
            else:
                uow.repo.models.save(now)
            uow.commit()
        return None

    def _hold(self, uow: SearchUnitOfWork, model: Model) -> tuple[Index, Model]:
        """The index, so that nobody publishes meanwhile, and the model as it is now. Raises _Superseded."""
        index = uow.repo.indexes.lock(model.workspace_id, self._clock.now())
        return index, _wanted(uow.repo.models.get(model.workspace_id, model.model_id))


def _embedded(embedder: GuardedEmbedder, model: Model, texts: Sequence[str]) -> NDArray[np.float32]:
    """The texts' vectors; 0 for one that the provider refuses, which is no reason to leave out all that follow.

    Raises EmbedderUnavailable, or EmbedderRefused, also where it has not taken a single text yet.
    """
    try:
        return embedder.embed_texts(texts)
    except EmbedderRefused as refusal:
        if not refusal.of_text:
            raise
        vectors, refused = np.zeros((len(texts), model.dimensions), np.float32), refusal
    for at, text in enumerate(texts):
        try:
            vectors[at] = embedder.embed_texts([text])[0]
        except EmbedderRefused as refusal:
            if not refusal.of_text:
                raise
    if not (vectors.any() or model.vector_count):
        raise refused
    return vectors


def _wanted(model: Model | None) -> Model:
    if model is None or model.state not in (ModelState.BUILDING, ModelState.LIVE):
        raise _Superseded
    return model
