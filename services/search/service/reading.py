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
from services.search.model.bm25 import Corpus
from services.search.model.postings import EMPTY, Postings, join
from services.search.repository.documents import FIELDS
from services.search.service.memory import Memory
from services.search.service.units import SearchUnitOfWork

T = TypeVar("T")

_TRIES = 5


class SnapshotGone(Exception):
    """A segment of the snapshot was merged away; a new snapshot has the one that took its place."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """An index as it was at one revision. `doc_nos` says whose each chunk_no below `corpus.end` is; -1: of nobody.

    Documents have numbers below `doc_end`; `segment_ids` are in the order of their chunk_nos.
    """

    workspace_id: UUID
    revision: int
    corpus: Corpus
    segment_ids: tuple[int, ...]
    doc_nos: NDArray[np.int32]
    doc_end: int

    def of_documents(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For each chunk_no whether its document is in the mask, as `Snapshots.allowed` gives it."""
        return mask[self.doc_nos]


class Snapshots:
    """The snapshots of a process and what was read for them, of every workspace under its own keys."""

    def __init__(self, max_bytes: int) -> None:
        shares = {"snapshots": max_bytes // 8, "masks": max_bytes // 8}
        self._snapshots: Memory[UUID, Snapshot] = Memory(shares["snapshots"])
        self._masks: Memory[tuple[UUID, str, tuple[int, ...] | None], tuple[int, NDArray[np.bool_]]] = Memory(
            shares["masks"]
        )
        self._postings: Memory[tuple[UUID, int, str], Postings] = Memory(max_bytes - sum(shares.values()))

    def read(self, uow: SearchUnitOfWork, workspace_id: UUID, work: Callable[[Snapshot], T]) -> T:
        """What `work` makes of a snapshot of now, all of which it can still read. Raises ConcurrentUpdate."""
        for _ in range(_TRIES):
            try:
                return work(self.current(uow, workspace_id))
            except SnapshotGone:
                continue
        raise ConcurrentUpdate

    def current(self, uow: SearchUnitOfWork, workspace_id: UUID) -> Snapshot:
        """The index as it is now."""
        revision = uow.repo.segments.revision(workspace_id)
        known = self._snapshots.get(workspace_id)
        if known is not None and known.revision == revision:
            return known
        state = uow.repo.segments.state(workspace_id)
        if state is None:
            return Snapshot(workspace_id, 0, Corpus(0, 0, 0), (), np.empty(0, np.int32), 0)
        # Numbers are given out once: those that are known stay as they are.
        before = known.doc_nos if known is not None and known.revision <= state.revision else np.empty(0, np.int32)
        more = uow.repo.segments.doc_nos(workspace_id, len(before), state.next_chunk_no)
        snapshot = Snapshot(
            workspace_id,
            state.revision,
            Corpus(state.chunk_count, state.term_count, state.next_chunk_no, state.dead),
            state.segment_ids,
            np.concatenate([before, more]),
            state.next_doc_no,
        )
        self._snapshots.put(workspace_id, snapshot, snapshot.doc_nos.nbytes + state.dead.nbytes)
        return snapshot

    def postings(self, uow: SearchUnitOfWork, snapshot: Snapshot, terms: Collection[str]) -> dict[str, Postings]:
        """The postings of each term in all segments, with the dead. Raises SnapshotGone."""
        workspace_id = snapshot.workspace_id
        keys = [(workspace_id, segment_id, term) for term in terms for segment_id in snapshot.segment_ids]
        found = self._postings.get_all(keys)
        missing = [(term, segment_id) for _, segment_id, term in keys if (workspace_id, segment_id, term) not in found]
        if missing:
            rows = uow.repo.postings.find(workspace_id, missing)
            if rows is None:
                raise SnapshotGone
            for row in rows:
                key = (workspace_id, row.segment_id, row.term)
                found[key] = Postings.decode(row.data) if row.data is not None else EMPTY
                self._postings.put(key, found[key], found[key].nbytes)
        return {
            term: join([found[workspace_id, segment_id, term] for segment_id in snapshot.segment_ids]) for term in terms
        }

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
        self._masks.put(key, (snapshot.revision, mask), mask.nbytes)
        return mask
