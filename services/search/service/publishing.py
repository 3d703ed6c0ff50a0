"""Fills the index: passages are staged, published all at once, and follow what becomes of their document.

Whoever changes the index of a workspace holds its row until the commit, so each sees what the others did. Nothing is
read or counted meanwhile: that comes before (`preparing`), or a job does it after (`vocabulary`, and the models').
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

import numpy as np

from services.kernel.clock import Clock
from services.kernel.errors import ConcurrentUpdate
from services.search.errors import ChunksMissing, IndexPurged, VersionOutdated
from services.search.model.facts import Audience, Document, DocumentChange, Facts
from services.search.model.index import Index
from services.search.model.passages import Changes, Outcome, Passage, Published, Staged, compare
from services.search.model.segments import Segment, SegmentState, level_of, next_merge
from services.search.service.maintenance import ask_to_maintain
from services.search.service.preparing import Batch, Prepared, Preparing, retire
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.vectors import Change, Folded, Vectors
from services.search.service.vocabulary import Words, ask_to_count, count_for, uncount

_TRIES = 5


class Publishing:
    """What documents tells the index, by call and by event. Its calls are of no workspace: their requests state it."""

    def __init__(self, units: SearchUnits, clock: Clock, vectors: Vectors) -> None:
        self._units = units
        self._clock = clock
        self._vectors = vectors
        self._preparing = Preparing(units, clock, vectors)

    def stage(self, workspace_id: UUID, document_id: UUID, version: int, passages: Sequence[Passage]) -> int:
        """Keep passages of a version until all are there: the version that is published meanwhile, 0 where none is.

        Raises VersionOutdated or IndexPurged.
        """
        with self._units(workspace_id) as uow:
            known = self._wanted(uow, workspace_id, document_id, version)
            if passages:
                uow.repo.staged.put(workspace_id, document_id, version, passages, self._clock.now())
                uow.commit()
        return known.facts.version if known is not None else 0

    def require_wanted(self, workspace_id: UUID, document_id: UUID, version: int) -> None:
        """Let pass only a version that could be published. Raises VersionOutdated or IndexPurged."""
        with self._units(workspace_id) as uow:
            self._wanted(uow, workspace_id, document_id, version)

    def publish(self, workspace_id: UUID, facts: Facts, passage_count: int) -> Outcome:
        """Put a version's staged passages in the place of what is published of the document.

        What is the same stays, with its number; a version that is published already stays as it is. Raises
        VersionOutdated, ChunksMissing, IndexPurged, or ConcurrentUpdate where others change the passages all the time.
        """
        document_id, version = facts.document_id, facts.version
        for _ in range(_TRIES):
            with self._units(workspace_id) as uow:
                self._wanted(uow, workspace_id, document_id, version)
                staged = uow.repo.staged.list_of(workspace_id, document_id, version, passage_count)
                changes = compare(staged, uow.repo.chunks.list_of(workspace_id, document_id))
            prepared = self._preparing.prepare(workspace_id, document_id, version, changes)
            outcome = self._publish(workspace_id, facts, passage_count, prepared)
            if outcome is not None:
                return outcome
        raise ConcurrentUpdate

    def follow(self, uow: SearchUnitOfWork, workspace_id: UUID, document_id: UUID, change: DocumentChange) -> None:
        """Follow what became of a document, in a unit of its workspace, which commits."""
        words = self._words_of(uow, workspace_id, document_id, change)
        try:
            index = uow.repo.indexes.lock(workspace_id, self._clock.now())
        except IndexPurged:
            return
        before = uow.repo.documents.get(workspace_id, document_id)
        if change.update is None:
            # For good: whoever is about to publish it has read of it before.
            uow.repo.changes.put(workspace_id, document_id, change)
            uow.repo.staged.remove_all(workspace_id, document_id)
            retire(uow, workspace_id, uow.repo.staged_segments.list_of(workspace_id, document_id), ())
            if before is not None:
                self._delete(uow, index, before, words)
        elif before is None:
            known = uow.repo.changes.get(workspace_id, document_id)
            if known is None or (known.update is not None and known.revision <= change.revision):
                uow.repo.changes.put(workspace_id, document_id, change)
        else:
            self._update(uow, index, before, change, words)

    def _publish(self, workspace_id: UUID, facts: Facts, passage_count: int, prepared: Prepared) -> Outcome | None:
        """None where the passages are others than those that it was prepared for."""
        document_id, version = facts.document_id, facts.version
        with self._units(workspace_id) as uow:
            repo = uow.repo
            index = repo.indexes.lock(workspace_id, self._clock.now())
            before = self._wanted(uow, workspace_id, document_id, version)
            staged = repo.staged.list_of(workspace_id, document_id, version, passage_count)
            published = repo.chunks.list_of(workspace_id, document_id)
            if len(staged) < passage_count:
                # Who asks again after a publish that they did not hear of finds nothing staged any more.
                if before is None or before.facts.version != version or len(published) != passage_count:
                    raise ChunksMissing(passage_count - len(staged))
                staged = [Staged(one.chunk_id, one.language, one.place) for one in published]
            changes = compare(staged, published)
            if changes.added and not prepared.fits(changes.added):
                return None
            batches = prepared.batches if changes.added else ()
            index, after = self._facts(uow, index, facts, before, passage_count)
            index = self._change(uow, index, before, after, changes, prepared)
            repo.staged.remove(workspace_id, document_id, version)
            used = [batch.segment_id for batch in batches if batch.segment_id is not None]
            retire(uow, workspace_id, repo.staged_segments.list_of(workspace_id, document_id), used)
            if changes or before != after:
                self._vectors.on_published(
                    uow, index, _change_of(after, batches, changes.removed, index, prepared.folded)
                )
                self._close(uow, index, removed=bool(changes.removed))
            uow.commit()
        return Outcome(len(changes.added), len(changes.removed), changes.kept)

    def _words_of(self, uow: SearchUnitOfWork, workspace_id: UUID, document_id: UUID, change: DocumentChange) -> Words:
        """The words of a document's passages, where others will see them, or nobody, and they are few."""
        known = uow.repo.documents.get(workspace_id, document_id)
        if known is None:
            return {}
        if change.update is not None and known.facts.updated_by(change).audience == known.facts.audience:
            return {}
        published = uow.repo.chunks.list_of(workspace_id, document_id)
        return self._preparing.words_of(uow, workspace_id, [passage.chunk_no for passage in published])

    def _delete(self, uow: SearchUnitOfWork, index: Index, before: Document, words: Words) -> None:
        workspace_id, document_id = index.workspace_id, before.facts.document_id
        published = uow.repo.chunks.list_of(workspace_id, document_id)
        index = self._remove(uow, index, before, published, words).counting(-1, 0, 0)
        uow.repo.documents.remove(workspace_id, document_id)
        uow.repo.audiences.remove_empty(workspace_id, before.audience_id)
        self._vectors.on_published(uow, index, _change_of(before, (), published, index, {}))
        self._close(uow, index, removed=True)

    def _update(
        self, uow: SearchUnitOfWork, index: Index, before: Document, change: DocumentChange, words: Words
    ) -> None:
        index, after = self._facts(uow, index, before.facts.updated_by(change), before, before.chunk_count)
        if after != before:
            self._move_words(uow, index, before, after, words)
            self._close(uow, index, removed=False)

    def _wanted(self, uow: SearchUnitOfWork, workspace_id: UUID, document_id: UUID, version: int) -> Document | None:
        """The document as it is published, if no newer version of it is, and it is not deleted, nor the workspace."""
        uow.repo.indexes.require(workspace_id)
        known = uow.repo.documents.get(workspace_id, document_id)
        if known is not None and known.facts.version > version:
            raise VersionOutdated(version)
        if known is None:
            change = uow.repo.changes.get(workspace_id, document_id)
            if change is not None and change.update is None:
                raise VersionOutdated(version)
        return known

    def _facts(
        self, uow: SearchUnitOfWork, index: Index, facts: Facts, before: Document | None, chunk_count: int
    ) -> tuple[Index, Document]:
        """Write what is known of the document now, and the index with the numbers that it took for it."""
        if before is not None:
            facts = facts.merged_onto(before.facts)
        else:
            change = uow.repo.changes.get(index.workspace_id, facts.document_id)
            if change is not None:
                facts = facts.updated_by(change)
                uow.repo.changes.remove(index.workspace_id, facts.document_id)
        index, audience_id = self._audience(uow, index, facts.audience)
        if before is None:
            after = Document(facts, index.next_doc_no, audience_id, chunk_count)
            index = replace(index, next_doc_no=index.next_doc_no + 1).counting(1, 0, 0)
        else:
            after = Document(facts, before.doc_no, audience_id, chunk_count)
        if after != before:
            uow.repo.documents.put(index.workspace_id, after)
            if before is not None and before.audience_id != audience_id:
                uow.repo.audiences.remove_empty(index.workspace_id, before.audience_id)
        return index, after

    def _audience(self, uow: SearchUnitOfWork, index: Index, audience: Audience) -> tuple[Index, int]:
        found = uow.repo.audiences.find(index.workspace_id, audience)
        if found is not None:
            return index, found
        audience_id = index.next_audience_id
        uow.repo.audiences.add(index.workspace_id, audience_id, audience)
        return replace(index, next_audience_id=audience_id + 1), audience_id

    def _change(
        self,
        uow: SearchUnitOfWork,
        index: Index,
        before: Document | None,
        after: Document,
        changes: Changes,
        prepared: Prepared,
    ) -> Index:
        if before is not None and changes.removed:
            index = self._remove(uow, index, before, changes.removed, prepared.gone)
        if before is not None and changes.kept:
            self._move_words(uow, index, before, after, {})
        if changes.moved:
            uow.repo.chunks.move(index.workspace_id, changes.moved)
        if changes.added:
            index = self._add(uow, index, after, changes.added, prepared)
        return index

    def _remove(
        self, uow: SearchUnitOfWork, index: Index, document: Document, removed: Sequence[Published], words: Words
    ) -> Index:
        if not removed:
            return index
        chunk_nos = [passage.chunk_no for passage in removed]
        if words.keys() >= set(chunk_nos):
            uncount(uow, index, {chunk_no: words[chunk_no] for chunk_no in chunk_nos})
            uow.repo.chunks.remove(index.workspace_id, chunk_nos)
        else:
            uow.repo.chunks.set_aside(index, chunk_nos)
            ask_to_count(uow, index, document.facts.document_id)
        uow.repo.segments.bury(index.workspace_id, chunk_nos)
        languages: Counter[str] = Counter()
        languages.subtract(passage.language for passage in removed)
        return index.counting(0, -len(removed), -sum(passage.length for passage in removed), languages)

    def _add(
        self, uow: SearchUnitOfWork, index: Index, document: Document, added: Sequence[Staged], prepared: Prepared
    ) -> Index:
        workspace_id, facts, first_no = index.workspace_id, document.facts, index.next_chunk_no
        by_key = {passage.key: passage for passage in added}
        ordered = [by_key[key] for batch in prepared.batches for key in batch.keys]
        lengths = [length for batch in prepared.batches for length in batch.lengths]
        counted_for = document.audience_id if prepared.words is not None else None
        count = uow.repo.chunks.add(
            workspace_id, facts.document_id, facts.version, ordered, first_no, lengths, counted_for
        )
        if count != len(added):
            raise ConcurrentUpdate
        index = self._place(uow, index, document.doc_no, prepared.batches)
        if prepared.words is not None:
            uow.repo.vocabulary.count(workspace_id, document.audience_id, prepared.words)
        else:
            ask_to_count(uow, index, facts.document_id)
        return index.counting(0, count, sum(lengths), Counter(passage.language for passage in added))

    def _place(self, uow: SearchUnitOfWork, index: Index, doc_no: int, batches: Iterable[Batch]) -> Index:
        """Have the segments of new passages read: the index with the numbers that they took."""
        workspace_id, written = index.workspace_id, list[Segment]()
        for batch in batches:
            first_no, count, segment_id = index.next_chunk_no, len(batch.keys), batch.segment_id
            segment = Segment(
                segment_id or index.next_segment_id, level_of(count), first_no, first_no + count - 1, count
            )
            index = replace(index, next_chunk_no=first_no + count)
            if segment_id is not None:
                written.append(segment)
                continue
            uow.repo.segments.add(workspace_id, segment, np.full(count, doc_no, np.int32), SegmentState.LIVE)
            uow.repo.postings.add(workspace_id, segment.segment_id, batch.encoded)
            index = replace(index, next_segment_id=segment.segment_id + 1)
        if written and uow.repo.staged_segments.publish(workspace_id, written, doc_no) != len(written):
            raise ConcurrentUpdate
        return index

    def _move_words(self, uow: SearchUnitOfWork, index: Index, before: Document, after: Document, words: Words) -> None:
        """Where another audience sees the passages that are there, it sees their words; a job sees to what lacks."""
        if before.audience_id == after.audience_id:
            return
        # Another version may have been published since they were read.
        counted = count_for(uow, index, words, after.audience_id) if words else 0
        if counted < before.chunk_count:
            ask_to_count(uow, index, after.facts.document_id)

    def _close(self, uow: SearchUnitOfWork, index: Index, *, removed: bool) -> None:
        """Write the index as it is now, and have its segments merged where that is due."""
        uow.repo.indexes.save(replace(index, revision=index.revision + 1, update_time=self._clock.now()))
        segments = uow.repo.segments.list_in(index.workspace_id, SegmentState.LIVE, count_dead=removed)
        if next_merge(segments) is not None:
            ask_to_maintain(uow, index.workspace_id)


def _change_of(
    document: Document, batches: Iterable[Batch], removed: Sequence[Published], index: Index, folded: Folded
) -> Change:
    ids = [chunk_id for batch in batches for chunk_id, _ in batch.keys]
    return Change(
        document_id=document.facts.document_id,
        doc_no=document.doc_no,
        added={chunk_id: number for number, chunk_id in enumerate(ids, index.next_chunk_no - len(ids))},
        folded=folded,
        removed=[passage.chunk_no for passage in removed],
    )
