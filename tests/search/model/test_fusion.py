from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.search.model.fusion import BLEND, Blend, Features, fuse, hybrid
from services.search.model.query import parse

ARM = st.lists(st.integers(0, 40), unique=True, max_size=20)
WEIGHT = st.floats(0.01, 1)


def arm(*numbers: int) -> NDArray[np.int32]:
    return np.array(numbers, np.int32)


class TestFuse:
    @given(st.lists(st.tuples(ARM, WEIGHT), max_size=3), st.floats(1, 60))
    def test_each_chunk_has_the_sum_of_what_its_ranks_give(self, arms: list[tuple[list[int], float]], k: float) -> None:
        expected = defaultdict[int, float](float)
        for numbers, weight in arms:
            for rank, number in enumerate(numbers, 1):
                expected[number] += weight / (k + rank)
        found = fuse([arm(*numbers) for numbers, _ in arms], [weight for _, weight in arms], k, 100)
        assert set(found.chunk_nos.tolist()) == set(expected)
        assert found.scores == pytest.approx([expected[number] for number in found.chunk_nos.tolist()])
        assert np.all(np.diff(found.scores) <= 0)

    @given(ARM, WEIGHT)
    def test_one_arm_keeps_its_order(self, numbers: list[int], weight: float) -> None:
        assert fuse([arm(*numbers)], [weight], 10, 100).chunk_nos.tolist() == numbers

    @given(ARM, ARM, st.floats(0, 1))
    def test_what_both_arms_rank_first_is_first(self, one: list[int], other: list[int], weight: float) -> None:
        found = fuse([arm(99, *one), arm(99, *other)], [weight, 1 - weight], 10, 1)
        assert found.chunk_nos.tolist() == [99]

    @given(ARM, ARM, WEIGHT, WEIGHT)
    def test_the_order_of_the_arms_does_not_matter(self, one: list[int], other: list[int], a: float, b: float) -> None:
        found = fuse([arm(*one), arm(*other)], [a, b], 10, 100)
        assert fuse([arm(*other), arm(*one)], [b, a], 10, 100).chunk_nos.tolist() == found.chunk_nos.tolist()

    @given(ARM, ARM, st.integers(1, 30))
    def test_a_shorter_list_is_the_beginning_of_a_longer_one(
        self, one: list[int], other: list[int], limit: int
    ) -> None:
        found = [fuse([arm(*one), arm(*other)], [0.4, 0.6], 10, size).chunk_nos.tolist() for size in (limit, 100)]
        assert found[0] == found[1][:limit]


class TestHybrid:
    VECTORS = np.eye(6, dtype=np.float32)

    def find(self, lexical: list[int], semantic: list[int], weight: float, blend: Blend = BLEND) -> list[int]:
        query = np.zeros(6, np.float32)
        query[0] = 1
        found = hybrid(arm(*lexical), arm(*semantic), weight, query, lambda at: self.VECTORS[at], 10, blend)
        return list(map(int, found.chunk_nos))

    def test_what_is_like_the_leader_moves_up(self) -> None:
        vectors = np.array([[1, 0], [0, 1], [0.8, 0.6], [0, 1]], np.float32)
        found = hybrid(arm(0), arm(0, 1, 3, 2), 0.3, np.array([0, 0], np.float32), lambda at: vectors[at], 10)
        assert found.chunk_nos.tolist()[:2] == [0, 2]

    @given(ARM, ARM, st.floats(0, 1))
    def test_what_has_the_query_as_it_was_typed_leads(self, one: list[int], other: list[int], weight: float) -> None:
        vectors = np.zeros((100, 6), np.float32)
        query = np.ones(6, np.float32)
        lexical = arm(*one, 99)
        found = hybrid(lexical, arm(*other), weight, query, lambda at: vectors[at], 10, verbatim=arm(99))
        assert found.chunk_nos[0] == 99

    def test_without_feedback_it_is_plain_fusion(self) -> None:
        found = self.find([3, 1], [1, 2], 0.5, Blend(leaders=0))
        assert found == fuse([arm(3, 1), arm(1, 2)], [0.5, 0.5], BLEND.k, 10).chunk_nos.tolist()

    def test_where_nothing_is_found_by_meaning_words_decide(self) -> None:
        assert self.find([3, 1, 2], [], 0.3) == [3, 1, 2]

    def test_where_nothing_is_found_by_words_meaning_decides(self) -> None:
        assert set(self.find([], [0, 4], 0.3)) == {0, 4}

    def test_where_only_words_count_nothing_else_is_found(self) -> None:
        assert self.find([3, 1], [4, 5], 1.0) == [3, 1]

    def test_nothing_is_found_where_nothing_is(self) -> None:
        assert self.find([], [], 0.3) == []


class TestWeight:
    def weigh(self, text: str, unknown: int = 0) -> float:
        groups = parse(text, frozenset({"en"})).groups
        return BLEND.weight(Features.of(groups, [number >= unknown for number in range(len(groups))]))

    def test_a_question_is_answered_by_meaning_more_than_by_words(self) -> None:
        assert self.weigh("how do wings behave in a slipstream of propellers") == BLEND.lexical

    def test_few_words_are_expected_in_what_is_found(self) -> None:
        assert self.weigh("invoice") == self.weigh("new invoice") == BLEND.few

    def test_identifiers_and_quotes_are_found_by_words(self) -> None:
        assert self.weigh("1234") == self.weigh('"pay on delivery"') == pytest.approx(BLEND.exact)
        assert BLEND.lexical < self.weigh("where do we keep invoice 1234") < BLEND.exact

    def test_what_the_semantic_arm_does_not_know_is_found_by_words(self) -> None:
        assert self.weigh("frobnicate widgets", unknown=2) == 1.0
        assert BLEND.few < self.weigh("frobnicate widgets", unknown=1) < 1.0

    @given(st.integers(0, 50), st.floats(0, 1), st.floats(0, 1))
    def test_it_is_a_share(self, words: int, unknown: float, exact: float) -> None:
        assert 0 <= BLEND.weight(Features(words, unknown, exact)) <= 1 + 1e-9
