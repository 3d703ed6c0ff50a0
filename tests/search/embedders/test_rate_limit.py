"""What a provider allows per minute is kept."""

import pytest

from services.search.embedders.port import ProviderUnavailable
from services.search.embedders.rate_limit import RateLimiter
from tests.search.embedders.held_time import HeldTime

LATE = 1e9


@pytest.fixture
def limiter(held: HeldTime) -> RateLimiter:
    """A request and ten tokens a second."""
    return RateLimiter(60, 600, held)


class TestPace:
    def test_a_burst_goes_at_once_and_what_follows_at_the_rate(self, limiter: RateLimiter, held: HeldTime) -> None:
        for _ in range(13):
            limiter.wait(1, LATE)
        assert held.sleeps == pytest.approx([1, 1, 1])

    def test_tokens_are_counted_as_well(self, limiter: RateLimiter, held: HeldTime) -> None:
        for _ in range(3):
            limiter.wait(50, LATE)
        assert held.sleeps == pytest.approx([5])

    def test_more_tokens_than_a_burst_go_once_and_are_paid_for_after(
        self, limiter: RateLimiter, held: HeldTime
    ) -> None:
        limiter.wait(300, LATE)
        assert held.sleeps == []
        limiter.wait(1, LATE)
        assert held.sleeps == pytest.approx([20.1])

    def test_in_any_minute_after_the_first_burst_there_are_no_more_than_the_limit(
        self, limiter: RateLimiter, held: HeldTime
    ) -> None:
        for _ in range(10):
            limiter.wait(1, LATE)
        begin = held.monotonic()
        count = 0
        while held.monotonic() <= begin + 60:
            limiter.wait(1, LATE)
            count += 1
        assert count <= 61

    def test_who_cannot_go_in_time_hears_so_at_once_and_when_to_come_back(
        self, limiter: RateLimiter, held: HeldTime
    ) -> None:
        limiter.wait(100, LATE)
        with pytest.raises(ProviderUnavailable) as caught:
            limiter.wait(90, held.monotonic() + 8)
        assert caught.value.retry_after is not None
        assert caught.value.retry_after.total_seconds() == pytest.approx(9)
        assert held.sleeps == []

    def test_a_query_overtakes_a_batch_that_waits(self, limiter: RateLimiter, held: HeldTime) -> None:
        limiter.wait(100, LATE)
        held.sleep(2)
        with pytest.raises(ProviderUnavailable):
            limiter.wait(80, held.monotonic())
        limiter.wait(10, held.monotonic())
        assert held.sleeps == [2]
