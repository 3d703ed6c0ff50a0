"""Keeps the vocabulary: in how many passages that an audience sees each word is.

Of few passages the words are counted in the commit that publishes, deletes or shows them to others. Of many, that
commit says only what is so now, and a job counts their words bit by bit. Each passage says for whom its words are
counted, so none is counted twice, whoever is cut off wherever. Texts are read before the index is held: whoever holds
it looks which of these passages are there still. A document waits in a list until a job found nothing left to count,
so a job that is lost is asked for again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from uuid import UUID

from services.kernel.clock import Clock
from services.kernel.jobs import Check, NewJob
from services.search.model.index import Index
from services.search.model.names import INDEX
from services.search.model.passages import Readable
from services.search.service.units import QUEUE, SearchUnitOfWork, SearchUnits

COUNT = "search.words.count"
# The words of so many passages are counted at once: some tenth of a second.
AT_ONCE = 200
# What waits for so long may have lost its job; a second one does no harm.
_LOST_AFTER = timedelta(minutes=10)
_DOCUMENTS = 1_000

Words = Mapping[int, frozenset[str]]
"""The words of passages, by their numbers."""


def words_of(passages: Mapping[int, Readable]) -> Words:
    """The words of what was read."""
    return {chunk_no: readable.vocabulary() for chunk_no, readable in passages.items()}


def count_for(uow: SearchUnitOfWork, index: Index, words: Words, audience_id: int) -> int:
    """Have the words of published passages counted for an audience, in a unit that holds the index.

    How many of the passages are there still: of the others nothing is counted.
    """
    before = uow.repo.chunks.audiences(index.workspace_id, list(words))
    _uncount(uow, index, words, before)
    uow.repo.chunks.count_for(index.workspace_id, list(before), audience_id)
    counted: Counter[str] = Counter()
    for chunk_no in before:
        if index.vocabulary_has(chunk_no):
            counted.update(words[chunk_no])
    uow.repo.vocabulary.count(index.workspace_id, audience_id, counted)
    return len(before)


def uncount(uow: SearchUnitOfWork, index: Index, words: Words) -> None:
    """Count the words of published passages no more, in a unit that holds the index and deletes them."""
    _uncount(uow, index, words, uow.repo.chunks.audiences(index.workspace_id, list(words)))


def ask_to_count(uow: SearchUnitOfWork, index: Index, document_id: UUID) -> None:
    """Have a worker count what this commit leaves to be counted of a document, in a unit that holds the index."""
    uow.repo.recounts.ask(index.workspace_id, document_id)
    # A job that runs may have looked already: what this commit leaves has one of its own.
    _ask(uow, index.workspace_id, document_id, f"{document_id}/{index.revision}")


class VocabularyCounts:
    """What the job does."""

    def __init__(self, units: SearchUnits, clock: Clock) -> None:
        self._units = units
        self._clock = clock

    def count(self, workspace_id: UUID, document_id: UUID, check: Check) -> None:
        """Have the words of a document's passages counted for those who see them, and of those that are gone for none.

        `check` raises what ends it early, and is called between two commits. Raises IndexPurged.
        """
        # A new version may have moved passages to where this has been.
        while not self._ended(workspace_id, document_id):
            while self._uncounted(workspace_id, document_id):
                check()
            self._count_all(workspace_id, document_id, check)

    def ask_where_due(self) -> None:
        """Have workers count what waits for so long that its job must be lost."""
        with self._units.system() as uow:
            for workspace_id, document_id in uow.repo.recounts.overdue(self._clock.now() - _LOST_AFTER, _DOCUMENTS):
                _ask(uow, workspace_id, document_id, str(document_id))
            uow.commit()

    def _ended(self, workspace_id: UUID, document_id: UUID) -> bool:
        """Whether nothing of a document is left to be counted: then it waits no more."""
        with self._units(workspace_id) as uow:
            uow.repo.indexes.lock(workspace_id, self._clock.now())
            if uow.repo.removed.read(workspace_id, document_id, 1):
                return False
            if uow.repo.chunks.uncounted(workspace_id, document_id, -1, 1):
                return False
            uow.repo.recounts.end(workspace_id, document_id)
            uow.commit()
        return True

    def _uncounted(self, workspace_id: UUID, document_id: UUID) -> bool:
        """Take back what is counted of some passages that are gone; whether there were any."""
        with self._units(workspace_id) as uow:
            words = words_of(uow.repo.removed.read(workspace_id, document_id, AT_ONCE))
            if not words:
                return False
            index = uow.repo.indexes.lock(workspace_id, self._clock.now())
            taken = uow.repo.removed.take(workspace_id, document_id, list(words))
            counted = [(one.chunk_no, one.counted_for) for one in taken if one.generation == index.generation]
            _subtract(uow, index, words, counted)
            uow.commit()
        return True

    def _count_all(self, workspace_id: UUID, document_id: UUID, check: Check) -> None:
        """Count the passages of a document, from the first to the last."""
        after = -1
        while True:
            with self._units(workspace_id) as uow:
                found = uow.repo.chunks.uncounted(workspace_id, document_id, after, AT_ONCE)
                if not found:
                    return
                words = words_of({one.chunk_no: one.readable for one in found})
                index = uow.repo.indexes.lock(workspace_id, self._clock.now())
                document = uow.repo.documents.get(workspace_id, document_id)
                if document is None:
                    return
                count_for(uow, index, words, document.audience_id)
                uow.commit()
            after = found[-1].ordinal
            check()


def _ask(uow: SearchUnitOfWork, workspace_id: UUID, document_id: UUID, key: str) -> None:
    name = INDEX.format(workspace=workspace_id)
    uow.enqueue(NewJob(QUEUE, COUNT, document_id.bytes, workspace_id=workspace_id, unique_key=key, subject=name))


def _uncount(uow: SearchUnitOfWork, index: Index, words: Words, counted: Mapping[int, int | None]) -> None:
    # Of passages that a rebuild has still to read, the vocabulary has no words any more.
    some = [
        (chunk_no, audience_id)
        for chunk_no, audience_id in counted.items()
        if audience_id is not None and index.vocabulary_has(chunk_no)
    ]
    _subtract(uow, index, words, some)


def _subtract(uow: SearchUnitOfWork, index: Index, words: Words, counted: Iterable[tuple[int, int]]) -> None:
    fewer: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for chunk_no, audience_id in counted:
        fewer[audience_id].subtract(words[chunk_no])
    for audience_id, changes in fewer.items():
        uow.repo.vocabulary.count(index.workspace_id, audience_id, changes)
