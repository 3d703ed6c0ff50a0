"""Filters of events and jobs, as values."""

from datetime import UTC, datetime

import pytest

from services.events.model.events import EventFilter, like_patterns
from services.events.model.jobs import ShownState
from services.kernel.jobs import JobState


class TestEventFilter:
    def test_patterns_of_like_say_what_types_say(self) -> None:
        assert like_patterns(("plinth.projects.*", "plinth.events.webhook_endpoint.created.v1")) == [
            "plinth.projects.%",
            r"plinth.events.webhook\_endpoint.created.v1",
        ]

    def test_filters_that_differ_have_keys_that_differ(self) -> None:
        moment = datetime(2026, 3, 1, tzinfo=UTC)
        filters = [
            EventFilter(),
            EventFilter(types=("a.b",)),
            EventFilter(subject="a.b"),
            EventFilter(actor="a.b"),
            EventFilter(start_time=moment),
            EventFilter(end_time=moment),
        ]
        assert len({one.key for one in filters}) == len(filters)


class TestShownState:
    @pytest.mark.parametrize("state", JobState)
    def test_every_state_of_a_job_is_shown_as_the_one_that_finds_it(self, state: JobState) -> None:
        assert state in ShownState.of(state).states

    def test_no_state_is_shown_as_two(self) -> None:
        shown = [state for one in ShownState for state in one.states]
        assert len(shown) == len(set(shown)) == len(JobState)
