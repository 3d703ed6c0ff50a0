"""How fast one endpoint is called."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.events.model.rate import reserve

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
rates = st.integers(1, 1000).map(float)
gaps = st.lists(st.floats(0, 2).map(lambda seconds: timedelta(seconds=seconds)), max_size=60)


def slots(per_second: float, gap_list: list[timedelta]) -> list[tuple[datetime, datetime]]:
    """When each call asked, and when it may go."""
    made, next_time, now = [], None, START
    for gap in gap_list:
        now += gap
        slot = reserve(next_time, per_second, now)
        next_time = slot.next_time
        made.append((now, slot.at))
    return made


@given(rates, gaps)
def test_no_second_sees_more_than_twice_the_rate_and_the_long_run_no_more_than_it(
    per_second: float, gap_list: list[timedelta]
) -> None:
    made = [at for _, at in slots(per_second, gap_list)]
    for first in range(len(made)):
        for last in range(first, len(made)):
            calls = last - first + 1
            # A second's worth may come at once; the rest keeps the pace. A microsecond each is lost to rounding.
            pace = (calls - per_second) / per_second * SECOND - timedelta(microseconds=2 * calls)
            assert made[last] - made[first] >= pace


@given(rates, gaps)
def test_slots_come_in_order_and_never_before_they_are_asked_for(per_second: float, gap_list: list[timedelta]) -> None:
    made = slots(per_second, gap_list)
    assert all(at >= asked for asked, at in made)
    assert [at for _, at in made] == sorted(at for _, at in made)


def test_who_keeps_below_the_rate_never_waits() -> None:
    made = slots(10, [timedelta(milliseconds=100)] * 50)
    assert all(at == asked for asked, at in made)


def test_a_second_of_calls_may_come_at_once_and_the_next_waits() -> None:
    made = slots(5, [timedelta(0)] * 7)
    assert [at - START for _, at in made] == [timedelta(0)] * 5 + [SECOND / 5, 2 * SECOND / 5]
