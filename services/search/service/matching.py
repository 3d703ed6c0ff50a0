"""What matches a query, ranked: by words, by meaning, or by both."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.search.errors import EmbedderNotConfigured, EmbedderRefused, EmbedderUnavailable, SemanticUnavailable
from services.search.model.fusion import ARM_DEPTH, BLEND, Features, hybrid
from services.search.model.hits import MAX_HITS, Mode, ScoreParts, Wanted
from services.search.model.index import EmbedderKind
from services.search.model.query import Group, Query, sentence, spoken
from services.search.model.ranking import Ranking
from services.search.model.vectors import Model
from services.search.service.lexical import PHRASE_DEPTH, Matches, admitted, doubtful, holding, lexical
from services.search.service.rewriting import QueryRewriter, Rewritten
from services.search.service.semantic import SemanticSearch
from services.search.service.snapshots import Snapshot, Snapshots
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.visibility import View, Viewer

T = TypeVar("T")

_NOTHING = Ranking(np.empty(0, np.int32), np.empty(0))
_NO_MATCHES = Matches(_NOTHING, 0, ())
# A passage with the whole query in it is among so many by words, whose texts are read.
_VERBATIM_AMONG = 10


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
    rewritten: Rewritten
    lexical: Matches
    semantic: Ranking
    weight: float
    ranking: Ranking
    meant: Meant | None

    @property
    def snapshot(self) -> Snapshot:
        """The index as the viewer sees it."""
        return self.view.snapshot

    def parts(self, chunk_nos: Sequence[int]) -> dict[int, ScoreParts]:
        """What the scores of some passages are made of."""
        by_words, by_meaning = _placed(self.lexical.ranking, chunk_nos), _placed(self.semantic, chunk_nos)
        return {
            chunk_no: ScoreParts(*by_words[chunk_no], *by_meaning[chunk_no], self.weight, 1 - self.weight)
            for chunk_no in chunk_nos
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    """A text's vector as a model's provider made it; None where it did not."""

    model_id: UUID
    text: str
    vector: NDArray[np.float32] | None


class _Unembedded(Exception):
    """Somebody else has to be asked for the vector of this text, so no unit may be open."""

    def __init__(self, model: Model, text: str) -> None:
        super().__init__()
        self.model, self.text = model, text


class Matching:
    """Matches queries against indexes."""

    def __init__(self, units: SearchUnits, snapshots: Snapshots, semantic: SemanticSearch) -> None:
        self._units = units
        self._snapshots = snapshots
        self._semantic = semantic
        self._rewriter = QueryRewriter(snapshots)

    def match(
        self, wanted: Wanted, viewer: Viewer, read: Callable[[SearchUnitOfWork, Matched], T]
    ) -> tuple[Matched, T]:
        """What matches, as far as the viewer sees it, and what `read` makes of it in the same unit.

        HYBRID is by words alone where there are no vectors, or nobody who could make the query's. Raises FilterInvalid,
        and of SEMANTIC SemanticUnavailable, EmbedderUnavailable, EmbedderRefused or EmbedderNotConfigured.
        """
        embedded: _Embedded | None = None
        while True:
            try:
                with self._units() as uow:
                    one = _OneQuery(uow, self._snapshots, self._semantic, self._rewriter, wanted, viewer)
                    return one.matched(self._model(uow, wanted), embedded, read)
            except _Unembedded as lacking:
                vector = self._embedded(lacking.model, lacking.text, wanted.mode)
                embedded = _Embedded(lacking.model.model_id, lacking.text, vector)

    def likeness(self, uow: SearchUnitOfWork, matched: Matched, chunk_no: int) -> float:
        """The cosine of a passage and the query; 0 where one of them has no vector, and by words alone."""
        if matched.meant is None:
            return 0.0
        vectors = self._semantic.vectors_of(uow, matched.snapshot, matched.meant.model, np.array([chunk_no], np.int32))
        return float((vectors @ matched.meant.vector)[0])

    def _model(self, uow: SearchUnitOfWork, wanted: Wanted) -> Model | None:
        if wanted.mode is Mode.LEXICAL:
            return None
        model = uow.repo.models.live(wanted.workspace_id)
        if model is None and wanted.mode is Mode.SEMANTIC:
            index = uow.repo.indexes.get(wanted.workspace_id)
            raise SemanticUnavailable((index.embedder if index else EmbedderKind.LSA).wire_name)
        return model

    def _embedded(self, model: Model, text: str, mode: Mode) -> NDArray[np.float32] | None:
        try:
            return self._semantic.of_text(model, text)
        except (EmbedderUnavailable, EmbedderRefused, EmbedderNotConfigured):
            if mode is Mode.SEMANTIC:
                raise
            return None


@dataclass(frozen=True, slots=True)
class _OneQuery:
    """One query in one unit of work."""

    uow: SearchUnitOfWork
    snapshots: Snapshots
    semantic: SemanticSearch
    rewriter: QueryRewriter
    wanted: Wanted
    viewer: Viewer

    def matched(
        self,
        model: Model | None,
        embedded: _Embedded | None,
        read: Callable[[SearchUnitOfWork, Matched], T],
    ) -> tuple[Matched, T]:
        """What matches, by the model's vectors if there is one; `embedded` is what others have made for the query.

        Raises _Unembedded where they have to be asked.
        """

        def work(snapshot: Snapshot) -> tuple[Matched, T]:
            view = View.of(self.snapshots, self.uow, snapshot, self.viewer)
            rewritten = self.rewriter.rewrite(self.uow, view, self.wanted.query, prefix=self.wanted.prefix)
            allowed = self.snapshots.allowed(self.uow, snapshot, self.wanted.filter, view.audiences)
            if model is None:
                matched = self._by_words(view, rewritten, allowed)
            elif model.latent:
                groups = self._in_view(view, rewritten.query.groups)
                known = [self._folded(model, [group]) is not None for group in groups]
                matched = self._by_meaning(view, rewritten, known, allowed, model, self._folded(model, groups))
            elif (vector := self._vector(model, spoken(rewritten.text), embedded)) is not None:
                known = [True] * len(rewritten.query.groups)
                matched = self._by_meaning(view, rewritten, known, allowed, model, vector)
            else:
                matched = self._by_words(view, rewritten, allowed)
            return matched, read(self.uow, matched)

        return self.snapshots.read(self.uow, self.wanted.workspace_id, work)

    def _by_words(self, view: View, rewritten: Rewritten, allowed: NDArray[np.bool_] | None) -> Matched:
        found = lexical(self.snapshots, self.uow, view.snapshot, rewritten.query, allowed, MAX_HITS)
        return Matched(Mode.LEXICAL, view, rewritten, found, _NOTHING, 1.0, found.ranking, None)

    def _vector(self, model: Model, text: str, embedded: _Embedded | None) -> NDArray[np.float32] | None:
        if (made := self.semantic.known(model, text)) is not None:
            return made
        if embedded is None or (embedded.model_id, embedded.text) != (model.model_id, text):
            raise _Unembedded(model, text)
        return embedded.vector

    def _in_view(self, view: View, groups: Sequence[Group]) -> Sequence[Group]:
        """Without the terms that only hidden or deleted passages have: the model has learnt of these, too."""
        terms = {term for group in groups for term in group.terms}
        known = self.snapshots.in_view(self.uow, view.snapshot, terms)
        return [replace(group, terms=tuple(term for term in group.terms if term in known)) for group in groups]

    def _by_meaning(
        self,
        view: View,
        rewritten: Rewritten,
        known: Sequence[bool],
        allowed: NDArray[np.bool_] | None,
        model: Model,
        vector: NDArray[np.float32] | None,
    ) -> Matched:
        semantic_alone = self.wanted.mode is Mode.SEMANTIC
        query, depth = rewritten.query, MAX_HITS if semantic_alone else ARM_DEPTH
        words = _NO_MATCHES
        if query.phrases or not semantic_alone:
            most = PHRASE_DEPTH if query.phrases else MAX_HITS
            words = lexical(self.snapshots, self.uow, view.snapshot, query, allowed, most)
        found = self._nearest(view.snapshot, query, words.ranking, allowed, model, vector, depth)
        meant = None if vector is None else Meant(model, vector)
        if semantic_alone:
            return Matched(Mode.SEMANTIC, view, rewritten, _NO_MATCHES, found, 0.0, found, meant)
        words = replace(words, ranking=words.ranking.first(MAX_HITS))
        weight = BLEND.weight(Features.of(query.groups, known))
        ranking = words.ranking
        if vector is not None:
            ranking = hybrid(
                words.ranking.chunk_nos[:ARM_DEPTH],
                found.chunk_nos,
                weight,
                vector,
                lambda chunk_nos: self.semantic.vectors_of(self.uow, view.snapshot, model, chunk_nos),
                MAX_HITS,
                verbatim=self._verbatim(words.ranking),
            )
        return Matched(Mode.HYBRID, view, rewritten, words, found, weight, ranking, meant)

    def _folded(self, model: Model, groups: Sequence[Group]) -> NDArray[np.float32] | None:
        return self.semantic.of_terms(self.uow, model, Counter(term for group in groups for term in group.terms))

    def _verbatim(self, ranking: Ranking) -> NDArray[np.int32]:
        """The passages in which the query stands as it was typed, in the order of the ranking by words."""
        typed = sentence(self.wanted.query)
        if typed is None:
            return _NOTHING.chunk_nos
        numbers = ranking.chunk_nos[:_VERBATIM_AMONG].tolist()
        passages = self.uow.repo.found.read(self.wanted.workspace_id, numbers)
        return np.array([passage.chunk_no for passage in passages if typed.search(passage.readable.text)], np.int32)

    def _nearest(
        self,
        snapshot: Snapshot,
        query: Query,
        words: Ranking,
        allowed: NDArray[np.bool_] | None,
        model: Model,
        vector: NDArray[np.float32] | None,
        depth: int,
    ) -> Ranking:
        """The nearest passages; those of `words`, which has all of them, where a phrase has to stand in them."""
        if vector is None:
            return _NOTHING
        if query.phrases:
            return self.semantic.nearest_of(self.uow, snapshot, model, vector, words.chunk_nos).first(depth)
        mask = holding(self.snapshots, self.uow, snapshot, query)
        doubted = doubtful(self.snapshots, self.uow, snapshot, query)
        # What must not be there is looked for afterwards.
        limit = depth if mask is None and doubted is None else MAX_HITS
        found = self.semantic.nearest(self.uow, snapshot, model, vector, allowed, limit)
        if mask is not None:
            found = found.only(mask[found.chunk_nos])
        return admitted(self.uow, snapshot, query, found, doubted).first(depth)


def _placed(ranking: Ranking, chunk_nos: Sequence[int]) -> dict[int, tuple[float, int]]:
    """The scores and the ranks, from 1, of some passages in a ranking; 0 and 0 where they are not in it."""
    found = {
        int(ranking.chunk_nos[at]): (float(ranking.scores[at]), int(at) + 1)
        for at in np.flatnonzero(np.isin(ranking.chunk_nos, np.array(chunk_nos, np.int32)))
    }
    return {chunk_no: found.get(chunk_no, (0.0, 0)) for chunk_no in chunk_nos}
