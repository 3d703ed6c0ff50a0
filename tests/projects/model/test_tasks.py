"""Tasks: that there is room between any two places."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.projects.model.tasks import MAX_POSITION_LENGTH, position_between, spread
from tests.projects.model.definitions import NOW, task


class TestAt:
    def test_another_place_is_another_version(self) -> None:
        after = task().at("a1", NOW + timedelta(hours=1))
        assert (after.position, after.version, after.update_time) == ("a1", 2, NOW + timedelta(hours=1))


class TestPosition:
    @given(st.lists(st.integers(0, 1000), max_size=60))
    def test_there_is_always_room_where_one_is_put(self, places: list[int]) -> None:
        positions: list[str] = []
        for place in places:
            at = place % (len(positions) + 1)
            before = positions[at - 1] if at else None
            after = positions[at] if at < len(positions) else None
            positions.insert(at, position_between(before, after))
        assert positions == sorted(positions)
        assert len(set(positions)) == len(positions)
        # As PostgreSQL compares them, byte by byte.
        assert [one.encode() for one in positions] == sorted(one.encode() for one in positions)

    def test_appending_and_prepending_stay_short(self) -> None:
        last = first = position_between(None, None)
        for _ in range(5000):
            last, first = position_between(last, None), position_between(None, first)
        assert max(len(last), len(first)) <= 5

    def test_one_gap_takes_hundreds_before_it_is_spread_anew(self) -> None:
        before, after, count = "a0", "a1", 0
        while len(after) <= MAX_POSITION_LENGTH:
            after = position_between(before, after)
            count += 1
        assert count > 500

    @given(st.integers(0, 300))
    def test_a_spread_is_in_order_and_short(self, count: int) -> None:
        positions = spread(count)
        assert len(positions) == count
        assert positions == sorted(set(positions))
        assert all(len(one) <= 4 for one in positions)
