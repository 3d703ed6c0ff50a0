"""What readers know of an index: a snapshot of one revision, and what was read for it.

A snapshot names the segments that were live at one moment, and what was dead in them. Segments never change, so what
is kept of them stays true for as long as they are named; only a merge takes one away, and who then asks for its
postings is told to begin again, with a new snapshot. One small query for each search finds the revision.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.kernel.errors import ConcurrentUpdate
from services.search.model import bm25
from services.search.model.bm25 import Corpus
from services.search.model.postings import EMPTY, Postings, join
from services.search.repository.documents import FIELDS
from services.search.repository.segments import LiveSegment
from services.search.service.cache import LruCache
from services.search.service.units import SearchUnitOfWork

T = TypeVar("T")

_TRIES = 5
# Of an audience's number in a key.
_NUMBER_BYTES = 40


class SnapshotGone(Exception):
    """A segment of the snapshot was merged away; a new snapshot has the one that took its place."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """An index as it was at one revision. `doc_nos` says whose each chunk_no below `corpus.end` is; -1: of nobody.

    Documents have numbers below `doc_end`; `segments` are in the order of their chunk_nos.
    """

    workspace_id: UUID
    revision: int
    corpus: Corpus
    segments: tuple[LiveSegment, ...]
    doc_nos: NDArray[np.int32]
    doc_end: int

    def of_documents(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For each chunk_no whether its document is in the mask, as `Snapshots.allowed` gives it."""
        return mask[self.doc_nos]


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """A term's postings in some segments; it has none in the others of these."""

    segments: tuple[LiveSegment, ...]
    postings: Postings


_Audiences = tuple[int, ...] | None


class Snapshots:
    """The snapshots of a process and what was read for them, of every workspace under its own keys."""

    def __init__(self, max_bytes: int) -> None:
        share = max_bytes // 8
        self._snapshots: LruCache[UUID, Snapshot] = LruCache(share)
        self._masks: LruCache[tuple[UUID, str, _Audiences], tuple[int, NDArray[np.bool_]]] = LruCache(share)
        self._corpora: LruCache[tuple[UUID, _Audiences], tuple[int, Corpus]] = LruCache(share)
        self._postings: LruCache[tuple[UUID, str], _Known] = LruCache(max_bytes - 3 * share)

    def read(self, uow: SearchUnitOfWork, workspace_id: UUID, work: Callable[[Snapshot], T]) -> T:
        """What `work` makes of a snapshot of now, all of which it can still read. Raises ConcurrentUpdate."""
        for _ in range(_TRIES):
            try:
                return work(self.current(uow, workspace_id))
            except SnapshotGone:
                continue
        raise ConcurrentUpdate

    def current(self, uow: SearchUnitOfWork, workspace_id: UUID) -> Snapshot:
        """The index as it is now. Raises SnapshotGone."""
        revision = uow.repo.segments.revision(workspace_id)
        known = self._snapshots.get(workspace_id)
        if known is not None and known.revision == revision:
            return known
        state = uow.repo.segments.state(workspace_id)
        if state is None:
            return Snapshot(workspace_id, 0, Corpus(0, 0, 0), (), np.empty(0, np.int32), 0)
        if known is not None and known.revision > state.revision:
            known = None
        # As a process would see it that knows nothing yet: what died and was merged away is in no segment any more.
        doc_nos = np.full(state.next_chunk_no, -1, np.int32)
        before = set(known.segments if known is not None else ())
        new = [segment for segment in state.segments if segment not in before]
        read = uow.repo.segments.doc_nos_in(workspace_id, new) if new else {}
        if read is None:
            raise SnapshotGone
        for segment in state.segments:
            if segment in read:
                doc_nos[segment.span] = read[segment]
            elif known is not None:
                doc_nos[segment.span] = known.doc_nos[segment.span]
        doc_nos[state.dead] = -1
        corpus = Corpus(state.chunk_count, state.term_count, state.next_chunk_no, state.dead)
        snapshot = Snapshot(workspace_id, state.revision, corpus, state.segments, doc_nos, state.next_doc_no)
        self._snapshots.put(workspace_id, snapshot, doc_nos.nbytes + corpus.live.nbytes)
        return snapshot

    def postings(self, uow: SearchUnitOfWork, snapshot: Snapshot, terms: Collection[str]) -> dict[str, Postings]:
        """The postings of each term in all segments, with the dead. Raises SnapshotGone."""
        workspace_id, segments = snapshot.workspace_id, snapshot.segments
        kept = self._postings.get_all([(workspace_id, term) for term in terms])
        known = {term: kept.get((workspace_id, term), _UNKNOWN) for term in terms}
        behind = {term: set(one.segments) for term, one in known.items() if one.segments != segments}
        missing = [
            (term, segment.segment_id)
            for term, before in behind.items()
            for segment in segments
            if segment not in before
        ]
        rows = uow.repo.postings.find(workspace_id, missing) if missing else []
        if rows is None:
            raise SnapshotGone
        read = {(row.term, row.segment_id): Postings.decode(row.data) for row in rows if row.data is not None}
        for term, before in behind.items():
            parts = [
                _part(known[term].postings, segment)
                if segment in before
                else read.get((term, segment.segment_id), EMPTY)
                for segment in segments
            ]
            known[term] = _Known(segments, join(parts))
            self._postings.put((workspace_id, term), known[term], known[term].postings.nbytes)
        return {term: one.postings for term, one in known.items()}

    def in_view(self, uow: SearchUnitOfWork, snapshot: Snapshot, terms: Collection[str]) -> set[str]:
        """Those of the terms that a live passage of the snapshot's corpus has. Raises SnapshotGone."""
        postings = self.postings(uow, snapshot, terms)
        return {term for term in terms if bm25.in_view(snapshot.corpus, postings[term])}

    def allowed(
        self, uow: SearchUnitOfWork, snapshot: Snapshot, filter: str, audiences: Sequence[int] | None
    ) -> NDArray[np.bool_] | None:
        """For each doc_no below `snapshot.doc_end`, and a last one False, whether it may be found; None: all may.

        That is: whether the filter lets it through, and one of the audiences (None: every one) sees it. Raises
        FilterInvalid.
        """
        wanted = FIELDS.query(filter)
        if wanted.condition is None and audiences is None:
            return None
        key = (snapshot.workspace_id, filter, None if audiences is None else tuple(audiences))
        kept = self._masks.get(key)
        if kept is not None and kept[0] == snapshot.revision:
            return kept[1]
        numbers = uow.repo.documents.numbers(snapshot.workspace_id, wanted, audiences)
        mask = np.zeros(snapshot.doc_end + 1, np.bool_)
        # A document that came after the snapshot has no number in it.
        mask[numbers[numbers < snapshot.doc_end]] = True
        mask.flags.writeable = False
        self._masks.put(key, (snapshot.revision, mask), mask.nbytes + len(filter) + _key_bytes(audiences))
        return mask

    def seen(self, uow: SearchUnitOfWork, snapshot: Snapshot, audiences: Sequence[int] | None) -> Corpus:
        """The corpus of the snapshot as audiences see it (None: every one): as if what is hidden were dead.

        But passages are as long on average as those of the whole workspace.
        """
        if audiences is None:
            return snapshot.corpus
        key = (snapshot.workspace_id, tuple(audiences))
        kept = self._corpora.get(key)
        if kept is not None and kept[0] == snapshot.revision:
            return kept[1]
        mask, whole = self.allowed(uow, snapshot, "", audiences), snapshot.corpus
        visible = whole.live if mask is None else snapshot.of_documents(mask)
        count = int(np.count_nonzero(visible))
        corpus = Corpus(
            count, round(whole.average_length * count), whole.end, np.flatnonzero(~visible).astype(np.int32)
        )
        self._corpora.put(key, (snapshot.revision, corpus), corpus.live.nbytes + _key_bytes(audiences))
        return corpus


_UNKNOWN = _Known((), EMPTY)


def _part(postings: Postings, segment: LiveSegment) -> Postings:
    if not len(postings):
        return EMPTY
    first, end = np.searchsorted(postings.chunk_nos, [segment.first_no, segment.last_no + 1])
    return Postings(postings.chunk_nos[first:end], postings.tfs[first:end], postings.lengths[first:end])


def _key_bytes(audiences: Sequence[int] | None) -> int:
    return _NUMBER_BYTES * len(audiences or ())
