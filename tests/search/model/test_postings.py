from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.model.postings import (
    EMPTY,
    MAX_COUNT,
    Postings,
    PostingsCorrupt,
    build,
    chunk_length,
    join,
    merge,
    unite,
)

CHUNKS = st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 80_000), max_size=4), max_size=12)


@st.composite
def postings(draw: st.DrawFn) -> Postings:
    numbers = sorted(draw(st.sets(st.integers(0, 2**31 - 1), max_size=30)))
    counts = st.lists(st.integers(1, MAX_COUNT), min_size=len(numbers), max_size=len(numbers))
    return of(numbers, draw(counts), draw(counts))


def of(numbers: Sequence[int], tfs: Sequence[int], lengths: Sequence[int]) -> Postings:
    return Postings(np.array(numbers, np.int32), np.array(tfs, np.uint16), np.array(lengths, np.uint16))


def rows(found: Postings) -> list[tuple[int, int, int]]:
    return list(zip(found.chunk_nos.tolist(), found.tfs.tolist(), found.lengths.tolist(), strict=True))


def segment(found: Mapping[str, Postings]) -> dict[str, list[tuple[int, int, int]]]:
    return {term: rows(its) for term, its in found.items()}


def dead(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(sorted(numbers), np.int32)


class TestBytes:
    @given(postings())
    def test_what_is_written_is_read_again(self, written: Postings) -> None:
        read = Postings.decode(written.encode())
        assert rows(read) == rows(written)
        assert [column.dtype.str for column in (read.chunk_nos, read.tfs, read.lengths)] == ["<i4", "<u2", "<u2"]

    def test_neighbours_take_little_room(self) -> None:
        assert len(of(range(1000, 2000), [1] * 1000, [200] * 1000).encode()) < 3050

    @given(postings(), st.data())
    def test_what_is_cut_off_is_refused(self, written: Postings, data: st.DataObject) -> None:
        whole = written.encode()
        with pytest.raises(PostingsCorrupt):
            Postings.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(PostingsCorrupt):
            Postings.decode(whole + b"\0")

    @given(st.binary(max_size=60))
    def test_other_bytes_are_refused_or_are_postings(self, data: bytes) -> None:
        try:
            found = Postings.decode(data)
        except PostingsCorrupt:
            return
        assert np.all(np.diff(found.chunk_nos) > 0)
        assert np.all(found.tfs > 0)

    def test_a_term_that_is_in_a_chunk_no_times_is_refused(self) -> None:
        with pytest.raises(PostingsCorrupt):
            Postings.decode(of([3, 4], [1, 0], [9, 9]).encode())

    def test_the_same_chunk_twice_is_refused(self) -> None:
        with pytest.raises(PostingsCorrupt):
            Postings.decode(of([3, 3], [1, 1], [9, 9]).encode())

    def test_nobody_writes_into_what_is_shared(self) -> None:
        found = Postings.decode(of([3], [1], [9]).encode())
        with pytest.raises(ValueError, match="read-only"):
            found.tfs[0] = 7


class TestBuild:
    def test_each_term_knows_its_chunks(self) -> None:
        found = build(40, [Counter(cat=2, dog=1), Counter(), Counter(dog=3)])
        assert segment(found) == {"cat": [(40, 2, 3)], "dog": [(40, 1, 3), (42, 3, 3)]}

    def test_more_than_fits_counts_as_much_as_fits(self) -> None:
        assert segment(build(0, [{"a": MAX_COUNT + 1, "b": 1}])) == {
            "a": [(0, MAX_COUNT, MAX_COUNT)],
            "b": [(0, 1, MAX_COUNT)],
        }


class TestMerge:
    @given(st.lists(CHUNKS, max_size=4), st.sets(st.integers(0, 50)))
    def test_merged_segments_are_as_if_built_at_once_without_the_dead(
        self, batches: list[list[dict[str, int]]], gone: set[int]
    ) -> None:
        segments, chunks = [], list[dict[str, int]]()
        for batch in batches:
            segments.append(build(len(chunks), batch))
            chunks += batch
        living = {number: chunk for number, chunk in enumerate(chunks) if number not in gone}
        expected = {
            term: [
                (number, min(chunk[term], MAX_COUNT), chunk_length(chunk))
                for number, chunk in living.items()
                if term in chunk
            ]
            for term in {term for chunk in living.values() for term in chunk}
        }
        assert segment(merge(segments, dead(*gone))) == expected

    def test_segments_out_of_order_are_refused(self) -> None:
        first, second = of([1, 5], [1, 1], [9, 9]), of([5, 7], [1, 1], [9, 9])
        with pytest.raises(ValueError, match="order"):
            join([first, second])

    def test_nothing_is_joined_to_nothing(self) -> None:
        assert join([]) is EMPTY
        assert join([EMPTY, EMPTY]) is EMPTY


class TestUnite:
    @given(st.lists(st.dictionaries(st.integers(0, 30), st.integers(1, MAX_COUNT)), max_size=4))
    def test_several_terms_are_counted_as_one(self, terms: list[dict[int, int]]) -> None:
        found = unite(
            [of(sorted(term), [term[at] for at in sorted(term)], [n + 9 for n in sorted(term)]) for term in terms]
        )
        total = sum((Counter(term) for term in terms), Counter[int]())
        assert rows(found) == [(at, min(total[at], MAX_COUNT), at + 9) for at in sorted(total)]
