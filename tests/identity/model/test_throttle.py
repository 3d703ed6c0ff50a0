"""How fast credentials may be guessed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.model.throttle import (
    LIMITS,
    Counter,
    Dimension,
    Factor,
    Limit,
    delay,
    dimensions,
    failed,
    remaining,
    source_of,
    wait,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
PAIR = LIMITS[Factor.PASSWORD, Dimension.PAIR]
ACCOUNT = LIMITS[Factor.PASSWORD, Dimension.ACCOUNT]
limits = st.sampled_from(list(LIMITS.values()))
gaps = st.lists(st.floats(0, 10_000), max_size=60)


def after(gap_seconds: list[float], limit: Limit) -> tuple[Counter | None, datetime]:
    """The counter after failures with these gaps between them, and the time of the last."""
    counter, now = None, START
    for gap in gap_seconds:
        now += timedelta(seconds=gap)
        counter = failed(counter, limit, now)
    return counter, now


class TestDelay:
    @given(limits, st.floats(0, 1e6), st.floats(0, 1e6))
    def test_more_failures_never_wait_less_and_never_longer_than_the_cap(
        self, limit: Limit, first: float, second: float
    ) -> None:
        assert delay(min(first, second), limit) <= delay(max(first, second), limit) <= limit.cap

    def test_the_first_failures_cost_nothing(self) -> None:
        assert delay(PAIR.free - 1, PAIR) == timedelta(0)
        assert delay(PAIR.free, PAIR) == PAIR.base
        assert delay(PAIR.free + 3, PAIR) == 8 * PAIR.base


class TestWait:
    @given(limits, gaps)
    def test_nobody_is_locked_out(self, limit: Limit, gap_seconds: list[float]) -> None:
        counter, now = after(gap_seconds, limit)
        assert wait(counter, limit, now + limit.cap) == timedelta(0)

    @given(limits, gaps, st.floats(0, 100_000), st.floats(0, 100_000))
    def test_waiting_never_makes_the_wait_longer(
        self, limit: Limit, gap_seconds: list[float], first: float, second: float
    ) -> None:
        counter, now = after(gap_seconds, limit)
        sooner, later = (timedelta(seconds=seconds) for seconds in sorted((first, second)))
        assert wait(counter, limit, now + later) <= wait(counter, limit, now + sooner)

    @given(limits, gaps)
    def test_what_was_announced_is_kept(self, limit: Limit, gap_seconds: list[float]) -> None:
        counter, now = after(gap_seconds, limit)
        assert wait(counter, limit, now + wait(counter, limit, now)) == timedelta(0)

    def test_without_failures_there_is_no_wait(self) -> None:
        assert wait(None, PAIR, START) == timedelta(0)

    @given(limits, gaps, st.floats(0, 100_000))
    def test_a_clock_that_went_back_locks_nobody_out(self, limit: Limit, gap_seconds: list[float], back: float) -> None:
        counter, now = after(gap_seconds, limit)
        assert wait(counter, limit, now - timedelta(seconds=back)) <= limit.cap

    def test_a_clock_that_went_back_forgives_nothing(self) -> None:
        assert remaining(Counter(7, START), PAIR, START - timedelta(hours=1)) == 7


class TestFailed:
    @given(limits, gaps)
    def test_the_level_counts_at_most_the_failures(self, limit: Limit, gap_seconds: list[float]) -> None:
        counter, now = after(gap_seconds, limit)
        assert 0 <= remaining(counter, limit, now) <= len(gap_seconds)

    def test_failures_are_forgiven_in_the_end(self) -> None:
        counter, now = after([0] * 10, PAIR)
        assert remaining(counter, PAIR, now + 10 * PAIR.forgive) == 0


class TestDimensions:
    def test_one_stranger_never_makes_an_account_wait_for_others(self) -> None:
        pair: Counter | None = None
        account: Counter | None = None
        now = START
        for _ in range(2000):
            now += wait(pair, PAIR, now)
            pair, account = failed(pair, PAIR, now), failed(account, ACCOUNT, now)
            assert wait(account, ACCOUNT, now) == timedelta(0)

    def test_a_known_source_answers_for_its_own_failures_only(self) -> None:
        assert dimensions(known_source=True) == (Dimension.PAIR,)
        assert set(dimensions(known_source=False)) == set(Dimension)


class TestSourceOf:
    @pytest.mark.parametrize(
        ("address", "source"),
        [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("unix", "unix"),
            ("", ""),
        ],
    )
    def test_an_ipv6_customer_is_one_source(self, address: str, source: str) -> None:
        assert source_of(address) == source
