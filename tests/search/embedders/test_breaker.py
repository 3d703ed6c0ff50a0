"""A provider that fails is left alone for a while, and then tried by one query at a time."""

import time
from datetime import timedelta

import pytest
import structlog

from services.kernel.deadline import reset_deadline, set_deadline
from services.search.embedders.breaker import Breaker
from services.search.embedders.port import ProviderBusy, ProviderRefused, ProviderUnavailable, TextRefused
from tests.search.embedders.held_time import HeldTime

AWAY = ProviderUnavailable("away")


@pytest.fixture
def breaker(held: HeldTime) -> Breaker:
    return Breaker(held)


def fail(breaker: Breaker, error: Exception) -> None:
    with pytest.raises(type(error)), breaker.trying():
        raise error


def asks(breaker: Breaker) -> bool:
    """Whether the provider is asked, which answers then."""
    try:
        with breaker.trying():
            return True
    except (ProviderUnavailable, ProviderRefused):
        return False


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (AWAY, 10),
        (ProviderUnavailable("soon", timedelta(seconds=1)), 10),
        (ProviderUnavailable("later", timedelta(seconds=30)), 30),
        (ProviderUnavailable("tomorrow", timedelta(days=1)), 60),
        (ProviderRefused("no credit"), 60),
    ],
)
def test_rests_as_long_as_it_says_within_bounds(
    breaker: Breaker, held: HeldTime, error: Exception, seconds: float
) -> None:
    fail(breaker, error)
    held.sleep(seconds - 0.5)
    with pytest.raises(type(error), match=str(error)), breaker.trying():
        pass
    held.sleep(0.5)
    assert asks(breaker)
    assert asks(breaker)


def test_is_tried_by_one_at_a_time(breaker: Breaker, held: HeldTime) -> None:
    fail(breaker, AWAY)
    held.sleep(10)
    with breaker.trying():
        assert not asks(breaker)
    assert asks(breaker)


def test_rests_anew_where_the_one_that_tries_fails(breaker: Breaker, held: HeldTime) -> None:
    fail(breaker, AWAY)
    held.sleep(10)
    fail(breaker, AWAY)
    assert not asks(breaker)
    held.sleep(10)
    assert asks(breaker)


def test_goes_on_where_one_query_breaks_for_a_reason_of_its_own(breaker: Breaker, held: HeldTime) -> None:
    fail(breaker, AWAY)
    held.sleep(10)
    fail(breaker, ValueError("a mistake"))
    assert asks(breaker)


def test_is_not_left_alone_because_enough_was_asked_of_it(breaker: Breaker) -> None:
    fail(breaker, ProviderBusy("enough", timedelta(seconds=5)))
    assert asks(breaker)


def test_is_not_left_alone_because_of_one_text(breaker: Breaker, held: HeldTime) -> None:
    fail(breaker, TextRefused("too long"))
    assert asks(breaker)
    fail(breaker, AWAY)
    held.sleep(10)
    # Who answers that is back.
    fail(breaker, TextRefused("too long"))
    with breaker.trying():
        assert asks(breaker)


def test_an_answer_from_before_it_failed_does_not_call_it_back(breaker: Breaker) -> None:
    with breaker.trying():
        fail(breaker, AWAY)
    assert not asks(breaker)


@pytest.mark.parametrize(("left", "asked"), [(0.5, True), (5, False)])
def test_whoever_cannot_wait_does_not_speak_for_others(breaker: Breaker, left: float, asked: bool) -> None:
    token = set_deadline(time.monotonic() + left)
    try:
        fail(breaker, AWAY)
    finally:
        reset_deadline(token)
    assert asks(breaker) is asked


def test_says_once_why_queries_are_answered_by_words(breaker: Breaker) -> None:
    with structlog.testing.capture_logs() as logged:
        fail(breaker, AWAY)
        for _ in range(3):
            assert not asks(breaker)
    assert [(line["event"], line["reason"]) for line in logged] == [("search.by_words_alone", "away")]
