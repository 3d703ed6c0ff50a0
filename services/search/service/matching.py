"""What matches a query, ranked: by words, by meaning, or by both."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray

from services.search.errors import EmbedderNotConfigured, EmbedderRefused, EmbedderUnavailable, SemanticUnavailable
from services.search.model import bm25
from services.search.model.fusion import ARM_DEPTH, BLEND, Features, hybrid
from services.search.model.hits import MAX_HITS, Mode, Parts, Wanted
from services.search.model.index import EmbedderKind
from services.search.model.postings import unite
from services.search.model.query import Group, Query
from services.search.model.ranking import Ranking
from services.search.model.vectors import Model
from services.search.service.lexical import Matches, lexical
from services.search.service.meaning import Meaning
from services.search.service.reading import Snapshot, Snapshots
from services.search.service.seeing import View, Viewer
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.wording import Wording, Wordings

T = TypeVar("T")

_NOTHING = Ranking(np.empty(0, np.int32), np.empty(0))
_NO_MATCHES = Matches(_NOTHING, 0, ())
_log = structlog.get_logger("plinth.search")


@dataclass(frozen=True, slots=True, eq=False)
class Meant:
    """A query's vector under a model."""

    model: Model
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What matches, best first in `ranking`, which two arms have made; `weight` is the lexical one's."""

    mode: Mode
    view: View
    wording: Wording
    lexical: Matches
    semantic: Ranking
    weight: float
    ranking: Ranking
    meant: Meant | None

    @property
    def snapshot(self) -> Snapshot:
        """The index as the viewer sees it."""
        return self.view.snapshot

    def parts(self, chunk_nos: Sequence[int]) -> dict[int, Parts]:
        """What the scores of some passages are made of."""
        by_words, by_meaning = _placed(self.lexical.ranking, chunk_nos), _placed(self.semantic, chunk_nos)
        return {
            chunk_no: Parts(*by_words[chunk_no], *by_meaning[chunk_no], self.weight, 1 - self.weight)
            for chunk_no in chunk_nos
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    """A query's vector as a model's provider made it; None where it did not."""

    model_id: UUID
    vector: NDArray[np.float32] | None


class Matching:
    """Matches queries against indexes."""

    def __init__(self, units: SearchUnits, snapshots: Snapshots, meaning: Meaning) -> None:
        self._units = units
        self._snapshots = snapshots
        self._meaning = meaning
        self._wordings = Wordings(snapshots)

    def match(
        self, wanted: Wanted, viewer: Viewer, read: Callable[[SearchUnitOfWork, Matched], T]
    ) -> tuple[Matched, T]:
        """What matches, as far as the viewer sees it, and what `read` makes of it in the same unit.

        HYBRID is by words alone where there are no vectors, or nobody who could make the query's. Raises FilterInvalid,
        and of SEMANTIC SemanticUnavailable, EmbedderUnavailable, EmbedderRefused or EmbedderNotConfigured.
        """
        embedded: _Embedded | None = None
        while True:
            with self._units() as uow:
                model = self._model(uow, wanted)
                if model is None or _makes_its_own(model) or (embedded and embedded.model_id == model.model_id):
                    reading = _Reading(uow, self._snapshots, self._meaning, self._wordings, wanted, viewer)
                    return reading.matched(model, embedded.vector if embedded else None, read)
            # Somebody else is asked for it, so no unit may be open.
            embedded = _Embedded(model.model_id, self._embedded(model, wanted))

    def likeness(self, uow: SearchUnitOfWork, matched: Matched, chunk_no: int) -> float:
        """The cosine of a passage and the query; 0 where one of them has no vector, and by words alone."""
        if matched.meant is None:
            return 0.0
        vectors = self._meaning.vectors_of(uow, matched.snapshot, matched.meant.model, np.array([chunk_no], np.int32))
        return float((vectors @ matched.meant.vector)[0])

    def _model(self, uow: SearchUnitOfWork, wanted: Wanted) -> Model | None:
        if wanted.mode is Mode.LEXICAL:
            return None
        model = self._meaning.model(uow, wanted.workspace_id)
        if model is None and wanted.mode is Mode.SEMANTIC:
            index = uow.repo.indexes.get(wanted.workspace_id)
            raise SemanticUnavailable(f"EMBEDDER_KIND_{(index.embedder if index else EmbedderKind.LSA).name}")
        return model

    def _embedded(self, model: Model, wanted: Wanted) -> NDArray[np.float32] | None:
        try:
            return self._meaning.of_text(model, wanted.query)
        except (EmbedderUnavailable, EmbedderRefused, EmbedderNotConfigured) as error:
            if wanted.mode is Mode.SEMANTIC:
                raise
            _log.warning("search.by_words_alone", workspace=str(wanted.workspace_id), reason=error.reason)
            return None


@dataclass(frozen=True, slots=True)
class _Reading:
    """One query in one unit of work."""

    uow: SearchUnitOfWork
    snapshots: Snapshots
    meaning: Meaning
    wordings: Wordings
    wanted: Wanted
    viewer: Viewer

    def matched(
        self,
        model: Model | None,
        vector: NDArray[np.float32] | None,
        read: Callable[[SearchUnitOfWork, Matched], T],
    ) -> tuple[Matched, T]:
        """What matches, by the model's vectors if there is one; `vector` is the query's where others make it."""

        def work(snapshot: Snapshot) -> tuple[Matched, T]:
            view = View.of(self.snapshots, self.uow, snapshot, self.viewer)
            wording = self.wordings.read(self.uow, view, self.wanted.query, prefix=self.wanted.prefix)
            allowed = self.snapshots.allowed(self.uow, snapshot, self.wanted.filter, view.audiences)
            if model is None or (vector is None and not _makes_its_own(model)):
                matched = self._by_words(view, wording, allowed)
            else:
                matched = self._by_meaning(view, wording, allowed, model, vector)
            return matched, read(self.uow, matched)

        return self.snapshots.read(self.uow, self.wanted.workspace_id, work)

    def _by_words(self, view: View, wording: Wording, allowed: NDArray[np.bool_] | None) -> Matched:
        found = lexical(self.snapshots, self.uow, view.snapshot, wording.query, allowed, MAX_HITS)
        return Matched(Mode.LEXICAL, view, wording, found, _NOTHING, 1.0, found.ranking, None)

    def _by_meaning(
        self,
        view: View,
        wording: Wording,
        allowed: NDArray[np.bool_] | None,
        model: Model,
        vector: NDArray[np.float32] | None,
    ) -> Matched:
        groups, known = wording.query.groups, [True] * len(wording.query.groups)
        if _makes_its_own(model):
            vector = self._folded(model, groups)
            known = [self._folded(model, [group]) is not None for group in groups]
        semantic_alone = self.wanted.mode is Mode.SEMANTIC
        found = self._nearest(view, wording, allowed, model, vector, MAX_HITS if semantic_alone else ARM_DEPTH)
        meant = None if vector is None else Meant(model, vector)
        if semantic_alone:
            return Matched(Mode.SEMANTIC, view, wording, _NO_MATCHES, found, 0.0, found, meant)
        words = self._by_words(view, wording, allowed).lexical
        weight = BLEND.weight(Features.of(groups, known))
        ranking = words.ranking
        if vector is not None:
            ranking = hybrid(
                words.ranking.chunk_nos[:ARM_DEPTH],
                found.chunk_nos,
                weight,
                vector,
                lambda chunk_nos: self.meaning.vectors_of(self.uow, view.snapshot, model, chunk_nos),
                MAX_HITS,
            )
        return Matched(Mode.HYBRID, view, wording, words, found, weight, ranking, meant)

    def _folded(self, model: Model, groups: Sequence[Group]) -> NDArray[np.float32] | None:
        return self.meaning.of_terms(self.uow, model, Counter(term for group in groups for term in group.terms))

    def _nearest(
        self,
        view: View,
        wording: Wording,
        allowed: NDArray[np.bool_] | None,
        model: Model,
        vector: NDArray[np.float32] | None,
        depth: int,
    ) -> Ranking:
        if vector is None:
            return _NOTHING
        mask = self._holding(view.snapshot, wording.query)
        # Words that have to be there, or must not, are looked for afterwards.
        limit = depth if mask is None else MAX_HITS
        found = self.meaning.nearest(self.uow, view.snapshot, model, vector, allowed, limit)
        if mask is None:
            return found
        kept = np.flatnonzero(mask[found.chunk_nos])[:depth]
        return Ranking(found.chunk_nos[kept], found.scores[kept])

    def _holding(self, snapshot: Snapshot, query: Query) -> NDArray[np.bool_] | None:
        """For each chunk_no whether it has the words that it must have, and none that it must not; None: any may be."""
        if not query.required and not query.excluded:
            return None
        groups = [*query.required, *query.excluded]
        postings = self.snapshots.postings(self.uow, snapshot, {term for group in groups for term in group.terms})
        mask = np.ones(snapshot.corpus.end, np.bool_)
        for group in groups:
            scored = bm25.Scored(group.word, unite([postings[term] for term in group.terms]))
            holding = bm25.containing(snapshot.corpus, scored)
            mask &= ~holding if group in query.excluded else holding
        return mask


def _makes_its_own(model: Model) -> bool:
    """Whether a query's vector comes from the workspace itself."""
    return model.embedder is EmbedderKind.LSA


def _placed(ranking: Ranking, chunk_nos: Sequence[int]) -> dict[int, tuple[float, int]]:
    """The scores and the ranks, from 1, of some passages in a ranking; 0 and 0 where they are not in it."""
    found = {
        int(ranking.chunk_nos[at]): (float(ranking.scores[at]), int(at) + 1)
        for at in np.flatnonzero(np.isin(ranking.chunk_nos, np.array(chunk_nos, np.int32)))
    }
    return {chunk_no: found.get(chunk_no, (0.0, 0)) for chunk_no in chunk_nos}
