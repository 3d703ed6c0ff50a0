"""Which events an endpoint asked for."""

import pytest

from services.events.webhooks.model.filters import matches

TYPE = "plinth.projects.project.created.v1"


@pytest.mark.parametrize("patterns", [[], ["*"], [TYPE], ["plinth.*"], ["plinth.projects.*"], ["a.b", TYPE]])
def test_asked_for(patterns: list[str]) -> None:
    assert matches(patterns, TYPE)


@pytest.mark.parametrize(
    "patterns", [["plinth.projects.project.created"], ["plinth.project.*"], ["plinth.tenancy.*"], ["PLINTH.*"], [""]]
)
def test_not_asked_for(patterns: list[str]) -> None:
    assert not matches(patterns, TYPE)
