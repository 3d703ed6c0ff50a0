"""Which events somebody wants."""

from datetime import UTC, datetime

import pytest

from services.events.model.filters import EventFilter, like_patterns, matches

TYPE = "plinth.projects.project.created.v1"


@pytest.mark.parametrize("types", [[], [TYPE], ["plinth.*"], ["plinth.projects.*"], ["a.b", TYPE]])
def test_wanted(types: list[str]) -> None:
    assert matches(types, TYPE)


@pytest.mark.parametrize(
    "types",
    [
        ["plinth.projects.project.created"],
        ["plinth.project.*"],
        ["plinth.projects*"],
        ["plinth.tenancy.*"],
        ["PLINTH.*"],
        ["*"],
        [""],
    ],
)
def test_not_wanted(types: list[str]) -> None:
    assert not matches(types, TYPE)


def test_patterns_of_like_say_what_types_say() -> None:
    assert like_patterns(("plinth.projects.*", "plinth.events.webhook_endpoint.created.v1", "plinth*")) == [
        "plinth.projects.%",
        r"plinth.events.webhook\_endpoint.created.v1",
        "plinth*",
    ]


def test_filters_that_differ_have_keys_that_differ() -> None:
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
