"""Jobs as their workspace sees them."""

import pytest

from services.events.model.jobs import ShownState
from services.kernel.jobs import JobState


class TestShownState:
    @pytest.mark.parametrize("state", JobState)
    def test_every_state_of_a_job_is_shown_as_the_one_that_finds_it(self, state: JobState) -> None:
        assert state in ShownState.of(state).states

    def test_no_state_is_shown_as_two(self) -> None:
        shown = [state for one in ShownState for state in one.states]
        assert len(shown) == len(set(shown)) == len(JobState)
