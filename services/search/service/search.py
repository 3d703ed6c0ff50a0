"""Use cases of SearchService: to find passages, and to explain why one has its place."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from time import monotonic
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.errors import ResourceNotFound
from services.kernel.ids import new_id
from services.kernel.paging import Pager
from services.search.model import bm25
from services.search.model.hits import (
    MAX_HITS,
    Explanation,
    Hit,
    Request,
    ScoreParts,
    SearchPage,
    TermContribution,
    Wanted,
)
from services.search.model.languages import primary
from services.search.model.query import Query
from services.search.model.shown import pack, unpack
from services.search.model.snippets import snippet
from services.search.repository.found import FoundPassage
from services.search.repository.queries import LoggedQuery
from services.search.service.matching import Matched, Matching
from services.search.service.search_report import SearchReport
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.visibility import DocumentsClient, Viewer

_DEFAULT_PAGE, _MAX_PAGE = 10, 100
# So many passages are read at once at most: as many documents can be asked about.
_MAX_BATCH = 400


@dataclass(slots=True)
class _Page:
    """The hits of a page as they are gathered: one more than are shown, which tells whether there is a next page."""

    doc_nos: NDArray[np.int32] | None
    count: int
    passages: list[tuple[FoundPassage, str]] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)

    @property
    def full(self) -> bool:
        return len(self.passages) >= self.count

    def number_of(self, chunk_no: int) -> int:
        """What must not come twice: the passage, or its document where hits are collapsed."""
        return chunk_no if self.doc_nos is None else int(self.doc_nos[chunk_no])

    def add(self, found: Sequence[FoundPassage], names: dict[UUID, str]) -> None:
        for passage in found:
            number = self.number_of(passage.chunk_no)
            if not self.full and number not in self.taken and passage.document_id in names:
                self.passages.append((passage, names[passage.document_id]))
                self.taken.add(number)


class SearchService:
    """Search over the documents of a workspace, as far as the caller may see them."""

    def __init__(
        self,
        units: SearchUnits,
        clock: Clock,
        pager: Pager,
        matching: Matching,
        documents: DocumentsClient,
        report: SearchReport,
    ) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager
        self._matching = matching
        self._documents = documents
        self._report = report

    def search(self, request: Request) -> SearchPage:
        """A page of hits. The first one of a query is kept in the log, unless that is not wanted.

        Raises FilterInvalid, PageTokenInvalid, and what `Matching.match` raises.
        """
        begun, wanted = monotonic(), request.wanted
        size = min(request.page_size or _DEFAULT_PAGE, _MAX_PAGE)
        page = self._pager.page(request.page_token, size, *_bound_to(request))
        shown = unpack(str(page.after[0])) if page.after else frozenset[int]()
        viewer = Viewer.of(current_caller().require_grant())

        def begin(uow: SearchUnitOfWork, matched: Matched) -> tuple[_Page, Iterator[list[int]], list[FoundPassage]]:
            gathered = _Page(matched.snapshot.doc_nos if request.collapse else None, page.count)
            gathered.taken.update(shown)
            batches = _batches(matched, gathered)
            return gathered, batches, uow.repo.found.read(wanted.workspace_id, next(batches, []))

        matched, (gathered, batches, found) = self._matching.match(wanted, viewer, begin)
        self._gather(wanted.workspace_id, viewer, gathered, batches, found)
        shown_now = gathered.passages[:size]
        numbers = shown | {gathered.number_of(passage.chunk_no) for passage, _ in shown_now}
        more = gathered.full and len(numbers) < MAX_HITS
        if not request.page_token and not request.unlogged:
            self._log(wanted, matched, viewer, begun)
        self._report.searched(matched.mode, monotonic() - begun, len(matched.snapshot.segments))
        return SearchPage(
            _hits(matched, shown_now, collapse=request.collapse),
            self._pager.next_token(page, [pack(numbers)]) if more else "",
            matched.mode,
            matched.rewritten.corrected,
            matched.lexical.count,
        )

    def explain(self, wanted: Wanted, chunk_id: UUID) -> Explanation:
        """Why a passage has its place. Raises ResourceNotFound, and what `search` raises."""
        viewer = Viewer.of(current_caller().require_grant())

        def begin(uow: SearchUnitOfWork, matched: Matched) -> tuple[list[FoundPassage], float]:
            number = uow.repo.found.number(wanted.workspace_id, chunk_id)
            if number is None or not matched.view.sees(number):
                return [], 0.0
            found = uow.repo.found.read(wanted.workspace_id, [number])
            return found, self._matching.likeness(uow, matched, number)

        matched, (found, likeness) = self._matching.match(wanted, viewer, begin)
        names = self._documents.names(viewer, {passage.document_id for passage in found})
        shown = [(passage, names[passage.document_id]) for passage in found if passage.document_id in names]
        if not shown:
            raise ResourceNotFound(str(chunk_id))
        [(passage, _)], [hit] = shown, _hits(matched, shown, collapse=False)
        corpus, scored = matched.snapshot.corpus, matched.lexical.scored
        contributions = bm25.explain(corpus, scored, passage.chunk_no)
        # Of what is not among the best, too.
        semantic = hit.parts.semantic_score if hit.parts.semantic_rank else likeness
        parts = replace(hit.parts, lexical_score=fsum(one.score for one in contributions), semantic_score=semantic)
        return Explanation(
            replace(hit, parts=parts),
            [
                TermContribution(one.word, group.terms, one.tf, one.df, one.idf, one.score)
                for group, one in zip(matched.rewritten.query.groups if scored else (), contributions, strict=True)
            ],
            corpus.chunk_count,
            passage.length,
            corpus.average_length,
        )

    def _gather(
        self,
        workspace_id: UUID,
        viewer: Viewer,
        page: _Page,
        batches: Iterator[list[int]],
        found: Sequence[FoundPassage],
    ) -> None:
        """Fill the page with what is to be shown: documents knows it."""
        while True:
            page.add(found, self._documents.names(viewer, {passage.document_id for passage in found}))
            batch = [] if page.full else next(batches, [])
            if not batch:
                return
            with self._units() as uow:
                found = uow.repo.found.read(workspace_id, batch)

    def _log(self, wanted: Wanted, matched: Matched, viewer: Viewer, begun: float) -> None:
        with self._units() as uow:
            uow.repo.queries.add(
                LoggedQuery(
                    wanted.workspace_id,
                    new_id(),
                    wanted.query,
                    matched.mode,
                    wanted.filter,
                    matched.rewritten.corrected,
                    len(matched.ranking),
                    round((monotonic() - begun) * 1000),
                    viewer.user_id,
                    self._clock.now(),
                )
            )
            uow.commit()


def _bound_to(request: Request) -> Sequence[str]:
    wanted = request.wanted
    choices = [wanted.mode, str(wanted.prefix), str(request.collapse), str(request.unlogged)]
    return ["Search", str(wanted.workspace_id), wanted.query, wanted.filter, *choices]


def _batches(matched: Matched, page: _Page) -> Iterator[list[int]]:
    """The ranked passages that were not shown yet, more at once each time: mostly the first are enough."""
    size, batch = page.count, list[int]()
    coming = set[int]()
    for chunk_no in map(int, matched.ranking.chunk_nos):
        number = page.number_of(chunk_no)
        if number in page.taken or number in coming:
            continue
        coming.add(number)
        batch.append(chunk_no)
        if len(batch) == size:
            yield batch
            size, batch = min(size * 4, _MAX_BATCH), []
    if batch:
        yield batch


def _hits(matched: Matched, shown: Sequence[tuple[FoundPassage, str]], *, collapse: bool) -> list[Hit]:
    parts = matched.parts([passage.chunk_no for passage, _ in shown])
    ranked = matched.ranking
    scores = dict(zip(ranked.chunk_nos.tolist(), ranked.scores.tolist(), strict=True))
    of_document = Counter(matched.snapshot.doc_nos[ranked.chunk_nos].tolist()) if collapse else Counter[int]()
    return [
        _hit(
            matched.rewritten.query,
            passage,
            display_name,
            scores.get(passage.chunk_no, 0.0),
            parts[passage.chunk_no],
            max(of_document[int(matched.snapshot.doc_nos[passage.chunk_no])] - 1, 0),
        )
        for passage, display_name in shown
    ]


def _hit(query: Query, passage: FoundPassage, display_name: str, score: float, parts: ScoreParts, more: int) -> Hit:
    readable = passage.readable
    piece = snippet(readable.text, primary(readable.language), query.groups)
    return Hit(
        chunk_id=passage.chunk_id,
        document_id=passage.document_id,
        display_name=display_name,
        media_type=passage.media_type,
        version=passage.version,
        snippet=piece.text,
        highlights=piece.highlights,
        headings=readable.headings,
        page=passage.place.page,
        start=passage.place.start,
        end=passage.place.end,
        score=score,
        parts=parts,
        more_in_document=more,
    )
