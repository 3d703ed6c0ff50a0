"""Keeps an index in good shape: merges its segments, and builds them anew when somebody wants it.

One job a workspace does both, in many small commits, while others publish and read. What it makes is a segment that
nobody reads yet; then one commit, which holds the index as a publish does, has it read in the place of those that it
was made of; then these are deleted. Segments never change, so readers see either the one or the others; passages that
die meanwhile are in the set of the dead before and after. A worker that is killed leaves segments that nobody reads:
the next job deletes those that are not whole, and goes on behind the others. Of two workers at one index, which only a
lost lease can bring about, one fails, as what it fills or swaps is gone.

An index is looked after when a publish leaves something to merge, when somebody wants it new, when a lost job has left
something undone, and when something has been dead in it for a week: so long do postings keep the words of what was
deleted. While it is built anew, what is published meanwhile is merged by itself, as the rest is about to go.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.kernel.clock import Clock
from services.kernel.errors import ConcurrentUpdate
from services.kernel.jobs import Check, NewJob
from services.search.model import postings
from services.search.model.index import Index
from services.search.model.names import INDEX
from services.search.model.segments import Merge, Segment, SegmentState, level_of, next_merge
from services.search.service.units import QUEUE, SearchUnitOfWork, SearchUnits

MAINTAIN = "search.maintain"
# So many passages are read at once when they are indexed anew.
_CHUNKS = 500
# So many words are deleted in one commit when all was read.
_WORDS = 5_000
_DEAD_FOR = timedelta(days=7)


def ask_to_maintain(uow: SearchUnitOfWork, workspace_id: UUID) -> None:
    """Have a worker look after the index of a workspace, once this commits."""
    name = INDEX.format(workspace=workspace_id)
    uow.enqueue(NewJob(QUEUE, MAINTAIN, workspace_id=workspace_id, unique_key=name, subject=name))


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Segments that become one, without what was dead among them; `made` is None where all of it was."""

    merge: Merge
    made: Segment | None
    dead: NDArray[np.int32]

    @property
    def source_ids(self) -> list[int]:
        return [segment.segment_id for segment in self.merge.segments]


class IndexMaintenance:
    """What the job does. `check` raises what ends it early, and is called between two commits."""

    def __init__(self, units: SearchUnits, clock: Clock) -> None:
        self._units = units
        self._clock = clock

    def maintain(self, workspace_id: UUID, check: Check) -> None:
        """Build the index anew if that is wanted, and merge until there is nothing to merge.

        Raises ConcurrentUpdate where another worker is at it.
        """
        self._clean(workspace_id, check)
        # What was asked for while a job is under way has no job of its own: it looks again before it ends.
        while self._rebuilt(workspace_id, check) or self._merged_all(workspace_id, SegmentState.LIVE, check):
            self._clean(workspace_id, check)

    def ask_where_due(self) -> None:
        """Have workers look after the indexes where something was dead for too long, or something was left undone."""
        with self._units.system() as uow:
            for workspace_id in uow.repo.segments.neglected(self._clock.now() - _DEAD_FOR):
                ask_to_maintain(uow, workspace_id)
            uow.commit()

    def _merged_all(self, workspace_id: UUID, state: SegmentState, check: Check) -> bool:
        """Merge until there is nothing to merge; whether there was something."""
        merged = False
        while plan := self._plan(workspace_id, state):
            self._fill(workspace_id, plan, check)
            self._swap(workspace_id, plan, state)
            merged = True
        return merged

    def _plan(self, workspace_id: UUID, state: SegmentState) -> _Plan | None:
        with self._units(workspace_id) as uow:
            segments, live = uow.repo.segments, state is SegmentState.LIVE
            overdue = segments.overdue(workspace_id, self._clock.now() - _DEAD_FOR) if live else ()
            merge = next_merge(self._mergeable(uow, workspace_id, state), overdue)
            if merge is None:
                return None
            first, last = merge.segments[0].first_no, merge.segments[-1].last_no
            dead = segments.dead(workspace_id, first, last)
            doc_nos = segments.doc_nos_of(workspace_id, merge.segments)
            doc_nos[dead - first] = -1
            count = int(np.count_nonzero(doc_nos >= 0))
            if not count:
                return _Plan(merge, None, dead)
            segment_id = uow.repo.indexes.take_segment_id(workspace_id, self._clock.now())
            made = Segment(segment_id, merge.level, first, last, count)
            segments.add(workspace_id, made, doc_nos, SegmentState.BUILDING)
            uow.commit()
        return _Plan(merge, made, dead)

    def _mergeable(self, uow: SearchUnitOfWork, workspace_id: UUID, state: SegmentState) -> list[Segment]:
        """The segments in a state, but for those that a rebuild is about to take away."""
        # What is built anew may lack numbers that are dead in others: there they do not count.
        found = uow.repo.segments.list_in(workspace_id, state, count_dead=state is SegmentState.LIVE)
        index = uow.repo.indexes.get(workspace_id)
        if index is None or not index.rebuilding or state is not SegmentState.LIVE:
            return found
        return [segment for segment in found if segment.first_no >= index.rebuild_end]

    def _fill(self, workspace_id: UUID, plan: _Plan, check: Check) -> None:
        if plan.made is None:
            return
        with self._units(workspace_id) as uow:
            bounds = uow.repo.postings.bounds(workspace_id, plan.source_ids)
        for after, upto in pairwise(["", *bounds]):
            check()
            with self._units(workspace_id) as uow:
                if not uow.repo.segments.hold(workspace_id, plan.made.segment_id):
                    raise ConcurrentUpdate
                parts = uow.repo.postings.between(workspace_id, plan.source_ids, after, upto)
                merged = postings.merge([postings.decoded(part) for part in parts], plan.dead)
                uow.repo.postings.add(workspace_id, plan.made.segment_id, postings.encoded(merged, plan.made.first_no))
                uow.commit()

    def _swap(self, workspace_id: UUID, plan: _Plan, state: SegmentState) -> None:
        """Let the one stand for the others. What those that nobody reads yet lack is in others still."""
        with self._units(workspace_id) as uow:
            index, segments = uow.repo.indexes.lock(workspace_id, self._clock.now()), uow.repo.segments
            _all_turn(uow, workspace_id, plan.source_ids, state, SegmentState.RETIRED)
            if plan.made is not None:
                _all_turn(uow, workspace_id, [plan.made.segment_id], SegmentState.BUILDING, state)
            if state is SegmentState.LIVE:
                segments.unbury(workspace_id, plan.dead)
                uow.repo.indexes.save(replace(index, revision=index.revision + 1))
            uow.commit()

    def _rebuilt(self, workspace_id: UUID, check: Check) -> bool:
        """Read all passages anew that are to be, as far as no job before has done it; whether there were any."""
        with self._units(workspace_id) as uow:
            index = uow.repo.indexes.get(workspace_id)
        if index is None or not index.rebuilding:
            return False
        while self._read_some(workspace_id):
            check()
            for state in (SegmentState.BUILT, SegmentState.LIVE):
                if self._merged_all(workspace_id, state, check):
                    self._clean(workspace_id, check)
        self._forget_words(workspace_id, check)
        with self._units(workspace_id) as uow:
            index, segments = uow.repo.indexes.lock(workspace_id, self._clock.now()), uow.repo.segments
            if not index.rebuilding:
                raise ConcurrentUpdate
            live = segments.list_in(workspace_id, SegmentState.LIVE, count_dead=False)
            old = [segment.segment_id for segment in live if segment.first_no < index.rebuild_end]
            built = segments.list_in(workspace_id, SegmentState.BUILT, count_dead=False)
            _all_turn(uow, workspace_id, old, SegmentState.LIVE, SegmentState.RETIRED)
            _all_turn(
                uow, workspace_id, [segment.segment_id for segment in built], SegmentState.BUILT, SegmentState.LIVE
            )
            dead = segments.dead(workspace_id, 0, index.rebuild_end - 1)
            segments.unbury(workspace_id, dead[segments.doc_nos(workspace_id, 0, index.rebuild_end)[dead] < 0])
            uow.repo.indexes.end_rebuild(workspace_id)
            uow.repo.indexes.save(replace(index, revision=index.revision + 1))
            uow.commit()
        return True

    def _forget_words(self, workspace_id: UUID, check: Check) -> None:
        """Delete the words that a rebuild which has read all has come upon nowhere."""
        after = ""
        while True:
            with self._units(workspace_id) as uow:
                words = uow.repo.vocabulary.stale(workspace_id, after, _WORDS)
                if not words:
                    return
                uow.repo.indexes.lock(workspace_id, self._clock.now())
                uow.repo.vocabulary.forget_stale(workspace_id, words)
                uow.commit()
            after = words[-1]
            check()

    def _read_some(self, workspace_id: UUID) -> bool:
        """Read the next passages anew, into a segment and the vocabulary; False where there are none any more."""
        with self._units(workspace_id) as uow:
            before = uow.repo.indexes.get(workspace_id) or Index.empty(workspace_id, self._clock.now())
            found = uow.repo.chunks.after(workspace_id, before.rebuilt_no - 1, before.rebuild_end, _CHUNKS)
            if not found:
                return False
            first, last = found[0].chunk_no, found[-1].chunk_no
            doc_nos = np.full(last + 1 - first, -1, np.int32)
            doc_nos[[passage.chunk_no - first for passage in found]] = [passage.doc_no for passage in found]
            terms = {passage.chunk_no: passage.readable.terms() for passage in found}
            words = {passage.chunk_no: passage.readable.vocabulary() for passage in found}
            lengths = {chunk_no: postings.chunk_length(counted) for chunk_no, counted in terms.items()}
            built = postings.build(first, [terms.get(chunk_no, {}) for chunk_no in range(first, last + 1)])

            segment_id = uow.repo.indexes.take_segment_id(workspace_id, self._clock.now())
            now = uow.repo.indexes.lock(workspace_id, self._clock.now())
            if not now.rebuilding or (now.generation, now.rebuilt_no) != (before.generation, before.rebuilt_no):
                raise ConcurrentUpdate
            longer = uow.repo.chunks.measure(workspace_id, lengths)
            segment = Segment(segment_id, level_of(len(found)), first, last, len(found))
            uow.repo.segments.add(workspace_id, segment, doc_nos, SegmentState.BUILT)
            uow.repo.postings.add(workspace_id, segment_id, postings.encoded(built, first))
            # Whoever was deleted, or shown to others, while these were read, has changed no words of theirs.
            of_audience: defaultdict[int, Counter[str]] = defaultdict(Counter)
            for chunk_no, audience_id in uow.repo.chunks.audiences(workspace_id, list(words)).items():
                if audience_id is not None:
                    of_audience[audience_id].update(words[chunk_no])
            for audience_id, counts in of_audience.items():
                uow.repo.vocabulary.count(workspace_id, audience_id, counts)
            uow.repo.indexes.advance_rebuild(workspace_id, last + 1)
            uow.repo.indexes.save(now.counting(0, 0, longer))
            uow.commit()
        return True

    def _clean(self, workspace_id: UUID, check: Check) -> None:
        """Delete the segments that are read no more, or were never finished."""
        with self._units(workspace_id) as uow:
            unread = uow.repo.segments.unread(workspace_id)
            # Whoever is filling one stops here: nothing is added to what is being deleted.
            uow.repo.segments.turn(workspace_id, unread, SegmentState.BUILDING, SegmentState.RETIRED)
            uow.commit()
        for segment_id in unread:
            check()
            with self._units(workspace_id) as uow:
                uow.repo.postings.remove(workspace_id, segment_id)
                uow.repo.segments.remove(workspace_id, segment_id)
                uow.commit()


def _all_turn(
    uow: SearchUnitOfWork, workspace_id: UUID, segment_ids: list[int], before: SegmentState, after: SegmentState
) -> None:
    if uow.repo.segments.turn(workspace_id, segment_ids, before, after) != len(segment_ids):
        raise ConcurrentUpdate
