"""Which segments are merged: so that there are few, and each passage is written seldom."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.search.model.segments import FANOUT, Segment, level_of, next_merge


def segment(number: int, chunk_count: int = 1, level: int | None = None, dead: int = 0) -> Segment:
    level = level_of(chunk_count) if level is None else level
    return Segment(number, level, number * 10_000, number * 10_000 + chunk_count - 1, chunk_count, dead)


class TestNextMerge:
    def test_waits_until_there_are_enough_neighbours(self) -> None:
        few = [segment(number) for number in range(FANOUT - 1)]
        assert next_merge(few) is None
        merge = next_merge([*few, segment(FANOUT)])
        assert merge is not None
        assert (len(merge.segments), merge.level) == (FANOUT, 1)

    def test_takes_smaller_ones_along_that_stand_between(self) -> None:
        mixed = [segment(number, 64 if number % 2 else 1) for number in range(2 * FANOUT)]
        merge = next_merge(mixed)
        assert merge is not None
        assert merge.segments == mixed[1:]
        assert merge.level == 2

    def test_writes_one_anew_that_is_dead_for_the_most_part(self) -> None:
        merge = next_merge([segment(0, 9, dead=3), segment(1, 9, dead=4)])
        assert merge is not None
        assert [one.segment_id for one in merge.segments] == [1]

    @given(st.lists(st.sampled_from([1, 3, 70, 2000]), max_size=120))
    def test_keeps_them_few_and_in_order(self, sizes: list[int]) -> None:
        segments: list[Segment] = []
        written: dict[int, int] = {}
        for number, size in enumerate(sizes):
            segments.append(segment(number, size))
            written[number] = 0
            while merge := next_merge(segments):
                at = segments.index(merge.segments[0])
                assert list(merge.segments) == segments[at : at + len(merge.segments)]
                first, last = merge.segments[0].segment_id, merge.segments[-1].last_no // 10_000
                for earlier in range(first, last + 1):
                    written[earlier] += 1
                total = sum(one.chunk_count for one in merge.segments)
                last_no = merge.segments[-1].last_no
                made = replace(merge.segments[0], level=merge.level, last_no=last_no, chunk_count=total)
                segments[at : at + len(merge.segments)] = [made]
        assert [one.first_no for one in segments] == sorted(one.first_no for one in segments)
        for level in {one.level for one in segments}:
            run = 0
            for each in segments:
                run = run + (each.level == level) if each.level <= level else 0
                assert run < FANOUT
        # A passage rises by a level each time.
        assert all(times <= max(one.level for one in segments) for times in written.values())
