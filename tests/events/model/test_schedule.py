"""When a failed delivery is tried again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events.model.schedule import (
    DELAYS,
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER,
    parse_retry_after,
    retry_delay,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
chances = st.floats(0, 1, exclude_max=True)
asked = st.none() | st.timedeltas(timedelta(0), timedelta(days=400))


class TestRetryDelay:
    def test_is_svixs_schedule(self) -> None:
        hours = [retry_delay(attempts, None, 0) for attempts in range(1, MAX_ATTEMPTS)]
        assert hours == [
            timedelta(seconds=5),
            timedelta(minutes=5),
            timedelta(minutes=30),
            timedelta(hours=2),
            timedelta(hours=5),
            timedelta(hours=10),
            timedelta(hours=10),
        ]

    @given(st.integers(1, MAX_ATTEMPTS - 1), asked, chances)
    def test_is_never_shorter_than_the_schedule_or_than_asked_and_always_bounded(
        self, attempts: int, retry_after: timedelta | None, chance: float
    ) -> None:
        delay = retry_delay(attempts, retry_after, chance)
        assert delay is not None
        least = max(DELAYS[attempts - 1], min(retry_after or timedelta(0), MAX_RETRY_AFTER))
        assert least <= delay <= least * 1.2

    @given(st.integers(MAX_ATTEMPTS, 1000), asked, chances)
    def test_ends(self, attempts: int, retry_after: timedelta | None, chance: float) -> None:
        assert retry_delay(attempts, retry_after, chance) is None

    def test_deliveries_that_failed_together_do_not_come_back_together(self) -> None:
        assert retry_delay(1, None, 0.1) != retry_delay(1, None, 0.9)


class TestParseRetryAfter:
    @given(st.integers(0, 10**6))
    def test_seconds(self, seconds: int) -> None:
        assert parse_retry_after(f" {seconds} ", NOW) == min(timedelta(seconds=seconds), MAX_RETRY_AFTER)

    @pytest.mark.parametrize("digits", [12, 13, 20, 5000])
    def test_however_many_digits_it_is_a_day_at_most(self, digits: int) -> None:
        assert parse_retry_after("9" * digits, NOW) == MAX_RETRY_AFTER

    @given(st.integers(-1000, 1000))
    def test_a_date(self, seconds: int) -> None:
        value = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
        assert parse_retry_after(value, NOW) == timedelta(seconds=max(seconds, 0))

    @pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "٣", "Sun, 32 Mar 2026 99:00:00 GMT"])
    def test_what_is_neither_is_passed_over(self, value: str) -> None:
        assert parse_retry_after(value, NOW) is None

    @given(st.text())
    def test_nothing_that_a_receiver_sends_breaks_it(self, value: str) -> None:
        delay = parse_retry_after(value, NOW)
        assert delay is None or timedelta(0) <= delay <= MAX_RETRY_AFTER
