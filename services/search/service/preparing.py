"""What is done before a publish, while nobody waits: words are counted, postings are written, vectors are made.

Passages that fit one segment are kept in memory until they are published. Of more, each segment is written in a commit
of its own, without numbers for its passages, where no reader looks; a publish gives it numbers, and that is all. Who
was cut off goes on behind the last one.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from services.kernel.clock import Clock
from services.search.model import postings
from services.search.model.passages import Changes, Readable, Staged, count_words
from services.search.repository.staged_segments import StagedSegment
from services.search.service.maintenance import ask_to_maintain
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.vectors import Folded, Vectors
from services.search.service.vocabulary import AT_ONCE, Words, words_of

# So many passages become one segment at once. Their words take a second or two, and some ten megabytes.
SEGMENT = 2000

Key = tuple[UUID, str]
"""What makes a passage the same as another: its id and its language."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Passages that become a segment, in order, and how many terms each has.

    `encoded` are its postings, or it was written already, as `segment_id`.
    """

    keys: Sequence[Key]
    lengths: Sequence[int]
    encoded: Mapping[str, bytes]
    segment_id: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """All that a publish needs to know of new passages, and the words of those that will be gone.

    `words` says in how many new passages each is; None: a job counts them. So it does where `gone` lacks a number.
    """

    batches: Sequence[Batch]
    words: Counter[str] | None
    folded: Folded
    gone: Words

    def fits(self, added: Sequence[Staged]) -> bool:
        """Whether it was made of these passages."""
        return {key for batch in self.batches for key in batch.keys} == {passage.key for passage in added}


class Preparing:
    """Prepares publishes."""

    def __init__(self, units: SearchUnits, clock: Clock, vectors: Vectors) -> None:
        self._units = units
        self._clock = clock
        self._vectors = vectors

    def prepare(self, workspace_id: UUID, document_id: UUID, version: int, changes: Changes) -> Prepared:
        """All that there is to know of what is about to change."""
        added = changes.added
        with self._units(workspace_id) as uow:
            gone = self.words_of(uow, workspace_id, [passage.chunk_no for passage in changes.removed])
            if len(added) <= SEGMENT:
                read = _read(uow, workspace_id, document_id, version, added)
                analysed = [readable.both() for readable in read.values()]
                terms = [terms for terms, _ in analysed]
                batches = [_batch(list(read), terms)] if read else []
                folded = self._vectors.fold(uow, workspace_id, terms)
                return Prepared(batches, count_words(words for _, words in analysed), folded, gone)
        return Prepared(self._written(workspace_id, document_id, version, added), None, {}, gone)

    def words_of(self, uow: SearchUnitOfWork, workspace_id: UUID, chunk_nos: Sequence[int]) -> Words:
        """The words of published passages; of none where they are so many that a job has to count them."""
        return words_of(uow.repo.chunks.read(workspace_id, chunk_nos)) if 0 < len(chunk_nos) <= AT_ONCE else {}

    def _written(self, workspace_id: UUID, document_id: UUID, version: int, added: Sequence[Staged]) -> list[Batch]:
        """The segments of these passages, those that are written already first."""
        wanted = {passage.key for passage in added}
        batches: list[Batch] = []
        with self._units(workspace_id) as uow:
            uow.repo.indexes.lock(workspace_id, self._clock.now())
            found = uow.repo.staged_segments.list_of(workspace_id, document_id)
            kept: list[int] = []
            for one in found:
                # Of two with the same passage, which only two workers at once can bring about, one is too many.
                if one.version == version and wanted.issuperset(one.keys):
                    batches.append(Batch(one.keys, one.lengths, {}, one.segment_id))
                    wanted.difference_update(one.keys)
                    kept.append(one.segment_id)
            retire(uow, workspace_id, found, kept)
            uow.commit()
        left = [passage for passage in added if passage.key in wanted]
        for first in range(0, len(left), SEGMENT):
            some = left[first : first + SEGMENT]
            batches.append(self._write(workspace_id, document_id, version, some))
        return batches

    def _write(self, workspace_id: UUID, document_id: UUID, version: int, added: Sequence[Staged]) -> Batch:
        with self._units(workspace_id) as uow:
            read = _read(uow, workspace_id, document_id, version, added)
        batch = _batch(list(read), (readable.terms() for readable in read.values()))
        with self._units(workspace_id) as uow:
            segment_id = uow.repo.indexes.take_segment_id(workspace_id, self._clock.now())
            uow.commit()
        with self._units(workspace_id) as uow:
            staged = StagedSegment(segment_id, version, tuple(batch.keys), tuple(batch.lengths))
            uow.repo.staged_segments.add(workspace_id, document_id, staged, self._clock.now())
            uow.repo.postings.add(workspace_id, segment_id, batch.encoded)
            uow.commit()
        return replace(batch, encoded={}, segment_id=segment_id)


def retire(uow: SearchUnitOfWork, workspace_id: UUID, staged: Sequence[StagedSegment], wanted: Collection[int]) -> None:
    """Have those staged segments of a document deleted that are not wanted."""
    retire_all(uow, workspace_id, [one.segment_id for one in staged if one.segment_id not in wanted])


def retire_all(uow: SearchUnitOfWork, workspace_id: UUID, segment_ids: Sequence[int]) -> None:
    """Have staged segments deleted."""
    if segment_ids:
        uow.repo.staged_segments.retire(workspace_id, segment_ids)
        ask_to_maintain(uow, workspace_id)


def _read(
    uow: SearchUnitOfWork, workspace_id: UUID, document_id: UUID, version: int, added: Sequence[Staged]
) -> dict[Key, Readable]:
    """What these passages hold, in their order."""
    if not added:
        return {}
    found = uow.repo.staged.read(workspace_id, document_id, version, added)
    return {passage.key: found[passage.key] for passage in added if passage.key in found}


def _batch(keys: Sequence[Key], terms: Iterable[Mapping[str, int]]) -> Batch:
    lengths: list[int] = []

    def measured() -> Iterator[Mapping[str, int]]:
        for one in terms:
            lengths.append(postings.chunk_length(one))
            yield one

    return Batch(keys, lengths, postings.encoded(postings.build(0, measured()), 0))
