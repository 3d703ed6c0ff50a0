"""A collection as Plinth's model of search indexes it, in memory: one document is one chunk."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.search.model import bm25, fusion, lsa, postings
from services.search.model.analysis import terms, words
from services.search.model.bm25 import Corpus, Scored
from services.search.model.postings import Postings
from services.search.model.query import Group, Query, parse, terms_of
from services.search.model.ranking import Ranking, best
from tests.bench_search.collection import Collection

# How deep rankings are measured.
DEPTH = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Meaning:
    """The semantic arm: a projection, and the vectors of all chunks."""

    projection: lsa.Projection
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """The index. `meaning` is missing where the collection is too small for it."""

    names: Sequence[str]
    languages: frozenset[str]
    corpus: Corpus
    segment: dict[str, Postings]
    meaning: Meaning | None

    def named(self, ranking: Ranking) -> list[str]:
        """The documents of a ranking."""
        return [self.names[number] for number in ranking.chunk_nos]

    def read(self, text: str) -> Query:
        """The query, as a search would read it."""
        return parse(text, self.languages)

    def lexical(self, text: str) -> list[str]:
        """What is found by words."""
        return self.named(self.by_words(self.read(text).groups))

    def lexical_of_all_words(self, text: str) -> list[str]:
        """And where words that say nothing count as well."""
        found = [Group(word.text, terms_of(word.text, self.languages)) for word in words(text) if not word.compound]
        return self.named(self.by_words(found))

    def semantic(self, text: str) -> list[str]:
        """What is found by meaning."""
        return self.named(self.by_meaning(self.read(text).groups))

    def by_words(self, groups: Sequence[Group], depth: int = DEPTH) -> Ranking:
        """The lexical arm."""
        return bm25.rank(self.corpus, [self.scored(group) for group in groups], depth)

    def scored(self, group: Group) -> Scored:
        """A word with its postings."""
        found = postings.unite([self.segment.get(term, postings.EMPTY) for term in group.terms])
        return Scored(group.word, found, group.weight)

    def vector(self, groups: Sequence[Group]) -> NDArray[np.float32]:
        """What the query means."""
        assert self.meaning
        return self.meaning.projection.fold(Counter(term for group in groups for term in group.terms))

    def by_meaning(self, groups: Sequence[Group], depth: int = DEPTH) -> Ranking:
        """The semantic arm."""
        assert self.meaning
        likeness = self.meaning.vectors @ self.vector(groups)
        return best(np.arange(len(likeness), dtype=np.int32), likeness.astype(np.float64), depth)

    def features(self, groups: Sequence[Group]) -> fusion.Features:
        """What the query is like."""
        assert self.meaning
        rows = self.meaning.projection.rows
        known = [any(term in rows for term in group.terms) for group in groups]
        return fusion.Features.of(groups, known)


def build(collection: Collection, language: str, *, meaning: bool = True) -> Library:
    """Index a collection whose documents are in this language. The semantic arm on demand."""
    chunks = [terms(text, language) for text in collection.documents.values()]
    segment = postings.build(0, chunks)
    corpus = Corpus(len(chunks), sum(map(postings.chunk_length, chunks)), len(chunks))
    arm = _meaning(len(chunks), segment) if meaning else None
    return Library(list(collection.documents), frozenset({language}), corpus, segment, arm)


def _meaning(chunk_count: int, segment: dict[str, Postings]) -> Meaning | None:
    everything = np.arange(chunk_count, dtype=np.int32)
    try:
        projection = lsa.fit(_occurrences(lsa.sample(everything), segment))
    except lsa.TooLittleText:
        return None
    return Meaning(projection, projection.fold_all(_occurrences(everything, segment)))


def _occurrences(chunk_nos: NDArray[np.int32], segment: dict[str, Postings]) -> lsa.Occurrences:
    occurrences = lsa.Occurrences(chunk_nos)
    for term, found in segment.items():
        occurrences.add(term, found.chunk_nos, found.tfs)
    return occurrences
