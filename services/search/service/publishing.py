"""Fills the index: passages are staged, published all at once, and follow what becomes of their document.

Whoever changes the index of a workspace holds its row until the commit, so each sees what the others did. Words are
counted before that: it is the longest part, and needs nobody to wait.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np

from services.kernel.clock import Clock
from services.kernel.errors import ConcurrentUpdate
from services.search.errors import ChunksMissing, VersionOutdated
from services.search.model import postings
from services.search.model.facts import Audience, Document, Facts, News, Telling
from services.search.model.index import Index
from services.search.model.passages import Changes, Outcome, Passage, Published, Readable, Staged, compare, count_words
from services.search.model.segments import Segment, level_of, next_merge
from services.search.repository.segments import SegmentState
from services.search.service.merging import ask_to_tend
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.vectors import Change, Vectors


@dataclass(frozen=True, slots=True)
class _Analysed:
    """What a new passage is found by, and whatever could be typed to find it."""

    readable: Readable
    terms: Counter[str]


class Publishing:
    """What documents tells the index, by call and by event. Its calls are of no workspace: their requests state it."""

    def __init__(self, units: SearchUnits, clock: Clock, vectors: Vectors) -> None:
        self._units = units
        self._clock = clock
        self._vectors = vectors

    def stage(self, workspace_id: UUID, document_id: UUID, version: int, passages: Sequence[Passage]) -> None:
        """Keep passages of a version until all are there. Raises VersionOutdated."""
        with self._units(workspace_id) as uow:
            self._wanted(uow, workspace_id, document_id, version)
            if passages:
                uow.repo.staged.put(workspace_id, document_id, version, passages, self._clock.now())
                uow.commit()

    def require_wanted(self, workspace_id: UUID, document_id: UUID, version: int) -> None:
        """Let pass only a version that could be published. Raises VersionOutdated."""
        with self._units(workspace_id) as uow:
            self._wanted(uow, workspace_id, document_id, version)

    def publish(self, workspace_id: UUID, facts: Facts, passage_count: int) -> Outcome:
        """Put a version's staged passages in the place of what is published of the document.

        What is the same stays, with its number; a version that is published already stays as it is. Raises
        VersionOutdated, ChunksMissing, or ConcurrentUpdate where the passages are staged anew meanwhile.
        """
        document_id, version = facts.document_id, facts.version
        with self._units(workspace_id) as uow:
            repo = uow.repo
            self._wanted(uow, workspace_id, document_id, version)
            staged = repo.staged.list_of(workspace_id, document_id, version, passage_count)
            likely = compare(staged, repo.chunks.list_of(workspace_id, document_id))
            analysed = self._analyse(uow, workspace_id, facts, likely.added)

            index = repo.indexes.lock(workspace_id, self._clock.now())
            before = self._wanted(uow, workspace_id, document_id, version)
            published = repo.chunks.list_of(workspace_id, document_id)
            if len(staged) < passage_count:
                # Who asks again after a publish that they did not hear of finds nothing staged any more.
                if before is None or before.facts.version != version or len(published) != passage_count:
                    raise ChunksMissing(passage_count - len(staged))
                staged = [Staged(one.chunk_id, one.language, one.place) for one in published]
            changes = compare(staged, published)
            late = [passage for passage in changes.added if passage.key not in analysed]
            analysed |= self._analyse(uow, workspace_id, facts, late)
            index, after = self._facts(uow, index, facts, before, passage_count)
            index = self._change(uow, index, before, after, changes, analysed)
            repo.staged.remove(workspace_id, document_id, version)
            if changes or before != after:
                terms = [analysed[passage.key].terms for passage in changes.added]
                self._vectors.on_published(uow, index, _change_of(after, changes, index, terms))
                self._close(uow, index, removed=bool(changes.removed))
            uow.commit()
        return Outcome(len(changes.added), len(changes.removed), changes.kept)

    def hear(self, uow: SearchUnitOfWork, workspace_id: UUID, document_id: UUID, news: News) -> None:
        """Follow what became of a document, in a unit of its workspace, which commits."""
        index = uow.repo.indexes.lock(workspace_id, self._clock.now())
        before = uow.repo.documents.get(workspace_id, document_id)
        if news.telling is None:
            # For good: whoever is about to publish it has read of it before.
            uow.repo.news.put(workspace_id, document_id, news)
            uow.repo.staged.remove_all(workspace_id, document_id)
            if before is not None:
                self._delete(uow, index, before)
        elif before is None:
            known = uow.repo.news.get(workspace_id, document_id)
            if known is None or known.telling is not None:
                uow.repo.news.put(workspace_id, document_id, news)
        else:
            self._tell(uow, index, before, news.telling, news)

    def _delete(self, uow: SearchUnitOfWork, index: Index, before: Document) -> None:
        workspace_id, document_id = index.workspace_id, before.facts.document_id
        published = uow.repo.chunks.list_of(workspace_id, document_id)
        changes = Changes([], published, [], 0)
        index = self._remove(uow, index, before, published).counting(-1, 0, 0)
        uow.repo.documents.remove(workspace_id, document_id)
        self._vectors.on_published(uow, index, _change_of(before, changes, index, ()))
        self._close(uow, index, removed=True)

    def _tell(self, uow: SearchUnitOfWork, index: Index, before: Document, telling: Telling, news: News) -> None:
        facts = before.facts.told(telling, news.time)
        index, after = self._facts(uow, index, facts, before, before.chunk_count)
        if after != before:
            self._move_words(uow, index, before, after)
            self._close(uow, index, removed=False)

    def _wanted(self, uow: SearchUnitOfWork, workspace_id: UUID, document_id: UUID, version: int) -> Document | None:
        """The document as it is published, if no newer version of it is, and it is not deleted."""
        known = uow.repo.documents.get(workspace_id, document_id)
        if known is not None and known.facts.version > version:
            raise VersionOutdated(version)
        if known is None:
            news = uow.repo.news.get(workspace_id, document_id)
            if news is not None and news.telling is None:
                raise VersionOutdated(version)
        return known

    def _analyse(
        self, uow: SearchUnitOfWork, workspace_id: UUID, facts: Facts, added: Sequence[Staged]
    ) -> dict[tuple[UUID, str], _Analysed]:
        if not added:
            return {}
        found = uow.repo.staged.read(workspace_id, facts.document_id, facts.version, added)
        return {key: _Analysed(readable, readable.terms()) for key, readable in found.items()}

    def _facts(
        self, uow: SearchUnitOfWork, index: Index, facts: Facts, before: Document | None, chunk_count: int
    ) -> tuple[Index, Document]:
        """Write what is known of the document now, and the index with the numbers that it took for it."""
        if before is not None:
            facts = facts.onto(before.facts)
        else:
            news = uow.repo.news.get(index.workspace_id, facts.document_id)
            if news is not None and news.telling is not None:
                facts = facts.told(news.telling, news.time)
                uow.repo.news.remove(index.workspace_id, facts.document_id)
        index, audience_id = self._audience(uow, index, facts.audience)
        if before is None:
            after = Document(facts, index.next_doc_no, audience_id, chunk_count)
            index = replace(index, next_doc_no=index.next_doc_no + 1).counting(1, 0, 0)
        else:
            after = Document(facts, before.doc_no, audience_id, chunk_count)
        if after != before:
            uow.repo.documents.put(index.workspace_id, after)
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
        analysed: dict[tuple[UUID, str], _Analysed],
    ) -> Index:
        if before is not None and changes.removed:
            index = self._remove(uow, index, before, changes.removed)
        if before is not None:
            self._move_words(uow, index, before, after)
        if changes.moved:
            uow.repo.chunks.move(index.workspace_id, changes.moved)
        if changes.added:
            index = self._add(uow, index, after, changes.added, [analysed[one.key] for one in changes.added])
        return index

    def _remove(self, uow: SearchUnitOfWork, index: Index, document: Document, removed: Sequence[Published]) -> Index:
        if not removed:
            return index
        chunk_nos = [passage.chunk_no for passage in removed]
        gone = uow.repo.chunks.remove(index.workspace_id, chunk_nos)
        uow.repo.segments.bury(index.workspace_id, chunk_nos)
        words = count_words(gone)
        uow.repo.vocabulary.count(
            index.workspace_id, document.audience_id, {word: -count for word, count in words.items()}
        )
        return index.counting(0, -len(removed), -sum(passage.length for passage in removed))

    def _add(
        self,
        uow: SearchUnitOfWork,
        index: Index,
        document: Document,
        added: Sequence[Staged],
        analysed: Sequence[_Analysed],
    ) -> Index:
        workspace_id, first_no, count = index.workspace_id, index.next_chunk_no, len(added)
        terms = [one.terms for one in analysed]
        lengths = [postings.chunk_length(one) for one in terms]
        facts = document.facts
        if uow.repo.chunks.add(workspace_id, facts.document_id, facts.version, added, first_no, lengths) != count:
            raise ConcurrentUpdate
        segment = Segment(index.next_segment_id, level_of(count), first_no, first_no + count - 1, count)
        uow.repo.segments.add(workspace_id, segment, np.full(count, document.doc_no, np.int32), SegmentState.LIVE)
        uow.repo.postings.add(workspace_id, segment.segment_id, postings.build(first_no, terms))
        words = count_words(one.readable for one in analysed)
        uow.repo.vocabulary.count(workspace_id, document.audience_id, words)
        return replace(index, next_chunk_no=first_no + count, next_segment_id=segment.segment_id + 1).counting(
            0, count, sum(lengths)
        )

    def _move_words(self, uow: SearchUnitOfWork, index: Index, before: Document, after: Document) -> None:
        """Where another audience sees the passages that are there, it sees their words."""
        if before.audience_id == after.audience_id:
            return
        words = count_words(uow.repo.chunks.read(index.workspace_id, after.facts.document_id))
        uow.repo.vocabulary.count(
            index.workspace_id, before.audience_id, {word: -count for word, count in words.items()}
        )
        uow.repo.vocabulary.count(index.workspace_id, after.audience_id, words)

    def _close(self, uow: SearchUnitOfWork, index: Index, *, removed: bool) -> None:
        """Write the index as it is now, and have its segments merged where that is due."""
        uow.repo.indexes.save(replace(index, revision=index.revision + 1, update_time=self._clock.now()))
        segments = uow.repo.segments.list_in(index.workspace_id, SegmentState.LIVE, count_dead=removed)
        if next_merge(segments) is not None:
            ask_to_tend(uow, index)


def _change_of(document: Document, changes: Changes, index: Index, terms: Sequence[Mapping[str, int]]) -> Change:
    first_no = index.next_chunk_no - len(changes.added)
    return Change(
        document_id=document.facts.document_id,
        doc_no=document.doc_no,
        added={passage.chunk_id: number for number, passage in enumerate(changes.added, first_no)},
        terms=terms,
        removed=[passage.chunk_no for passage in changes.removed],
    )
