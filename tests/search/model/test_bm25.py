from collections import Counter, defaultdict
from math import log

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.search.model.bm25 import Corpus, Scored, containing, explain, rank
from services.search.model.postings import EMPTY, build, unite

WORDS = "abcdefg"
CHUNKS = st.lists(st.lists(st.sampled_from(WORDS), max_size=9), min_size=1, max_size=25)
QUERY = st.lists(st.sampled_from(WORDS + "x"), min_size=1, max_size=5)


class Index:
    """Chunks of words, and which of them are dead."""

    def __init__(self, chunks: list[list[str]], dead: set[int] | None = None) -> None:
        self.chunks, self.dead = chunks, {number for number in dead or set() if number < len(chunks)}
        self.living = {number: chunk for number, chunk in enumerate(chunks) if number not in self.dead}
        self._segment = build(0, [Counter(chunk) for chunk in chunks])
        self.corpus = Corpus(
            len(self.living),
            sum(map(len, self.living.values())),
            len(chunks),
            np.array(sorted(self.dead), np.int32),
        )

    def words(self, *query: str) -> list[Scored]:
        """A word of several letters has several terms."""
        return [Scored(word, unite([self._segment.get(term, EMPTY) for term in word])) for word in query]

    def naive(self, query: list[str]) -> dict[int, float]:
        """Straight from the definition."""
        average = sum(map(len, self.living.values())) / max(len(self.living), 1) or 1
        scores = defaultdict[int, float](float)
        for word in query:
            df = sum(not set(word).isdisjoint(chunk) for chunk in self.living.values())
            idf = log(1 + (len(self.living) - df + 0.5) / (df + 0.5))
            for number, chunk in self.living.items():
                tf = sum(chunk.count(term) for term in word)
                scores[number] += idf * tf / (tf + 1.2 * (0.25 + 0.75 * len(chunk) / average)) if tf else 0
        return {number: score for number, score in scores.items() if score > 0}


def some(*numbers: int, of: int) -> NDArray[np.bool_]:
    mask = np.zeros(of, np.bool_)
    mask[list(numbers)] = True
    return mask


class TestRank:
    @given(CHUNKS, QUERY, st.sets(st.integers(0, 24)), st.integers(1, 30))
    def test_the_best_are_those_of_the_definition(
        self, chunks: list[list[str]], query: list[str], dead: set[int], limit: int
    ) -> None:
        index = Index(chunks, dead)
        found = rank(index.corpus, index.words(*query), limit)
        expected = index.naive(query)
        assert len(found) == min(limit, len(expected))
        assert found.scores == pytest.approx([expected[number] for number in found.chunk_nos.tolist()])
        assert found.scores == pytest.approx(sorted(expected.values(), reverse=True)[:limit])

    @given(CHUNKS, QUERY, st.sets(st.integers(0, 24)), st.integers(1, 30))
    def test_a_filter_leaves_scores_as_they_are(
        self, chunks: list[list[str]], query: list[str], kept: set[int], limit: int
    ) -> None:
        index = Index(chunks)
        mask = some(*(number for number in kept if number < len(chunks)), of=len(chunks))
        everything = rank(index.corpus, index.words(*query), len(chunks))
        expected = [
            pair
            for pair in zip(everything.chunk_nos.tolist(), everything.scores.tolist(), strict=True)
            if mask[pair[0]]
        ]
        found = rank(index.corpus, index.words(*query), limit, mask)
        assert list(zip(found.chunk_nos.tolist(), found.scores.tolist(), strict=True)) == expected[:limit]

    def test_among_equals_the_first_comes_first(self) -> None:
        index = Index([["b"], ["a"], ["a", "b"], ["a"], ["a"], ["b"]])
        assert rank(index.corpus, index.words("a"), 2).chunk_nos.tolist() == [1, 3]
        assert rank(index.corpus, index.words("a"), 9).chunk_nos.tolist() == [1, 3, 4, 2]

    def test_forms_of_one_word_are_counted_as_one(self) -> None:
        index = Index([["a", "b"], ["a", "c"], ["c", "c"]])
        found = rank(index.corpus, index.words("ab"), 9)
        assert dict(zip(found.chunk_nos.tolist(), found.scores.tolist(), strict=True)) == pytest.approx(
            index.naive(["ab"])
        )

    def test_an_empty_index_finds_nothing(self) -> None:
        assert len(rank(Corpus(0, 0, 0), [Scored("a", EMPTY)], 10)) == 0

    def test_scores_are_those_of_bm25s(self) -> None:
        generator = np.random.default_rng(1)
        vocabulary = [f"w{number}" for number in range(300)]
        likely = 1 / np.arange(1, 301)
        chunks = [
            list(generator.choice(vocabulary, size, p=likely / likely.sum())) for size in generator.integers(1, 80, 500)
        ]
        peer = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
        peer.index(chunks, show_progress=False)
        segment = build(0, [Counter(chunk) for chunk in chunks])
        corpus = Corpus(len(chunks), sum(map(len, chunks)), len(chunks))
        for _ in range(40):
            query = list(generator.choice(vocabulary, 4, p=likely / likely.sum()))
            found = rank(corpus, [Scored(word, segment.get(word, EMPTY)) for word in query], 20)
            expected = peer.get_scores([word for word in query if word in segment])
            assert found.scores == pytest.approx(expected[found.chunk_nos], abs=1e-5)
            assert found.scores == pytest.approx(np.sort(expected)[::-1][: len(found)], abs=1e-5)


class TestContaining:
    def test_only_living_chunks_hold_a_word(self) -> None:
        index = Index([["a"], ["b"], ["a"], ["a", "b"]], dead={2})
        assert containing(index.corpus, index.words("a")[0]).tolist() == [True, False, False, True]


class TestExplain:
    @given(CHUNKS, QUERY, st.sets(st.integers(0, 24)))
    def test_what_the_words_give_is_the_score(self, chunks: list[list[str]], query: list[str], dead: set[int]) -> None:
        index = Index(chunks, dead)
        found = rank(index.corpus, index.words(*query), len(chunks))
        for number, score in zip(found.chunk_nos.tolist(), found.scores.tolist(), strict=True):
            assert sum(part.score for part in explain(index.corpus, index.words(*query), number)) == pytest.approx(
                score
            )

    def test_it_says_where_a_score_comes_from(self) -> None:
        index = Index([["a", "a", "b"], ["b"], ["b", "c"]])
        a, b, x = explain(index.corpus, index.words("a", "b", "x"), 0)
        assert (a.word, a.tf, a.df) == ("a", 2, 1)
        assert a.score == pytest.approx(a.idf * 2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2)))
        assert b.idf < a.idf
        assert (x.tf, x.df, x.score) == (0, 0, 0.0)
