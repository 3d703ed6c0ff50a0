"""What is asked no more often than every ten seconds, and told as nothing while it cannot be asked."""

from types import SimpleNamespace

import pytest

from services.kernel.errors import DependencyUnavailable
from services.kernel.fresh import Fresh


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is."""
    now = [100.0]
    monkeypatch.setattr("services.kernel.fresh.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_many_who_ask_within_ten_seconds_get_one_answer(clock: list[float]) -> None:
    answers = iter(["first", "second"])
    one = Fresh(lambda: next(answers))
    found = [one.get(), one.get()]
    clock[0] += 10.1
    assert [*found, one.get(), one.get()] == ["first", "first", "second", "second"]


def test_while_the_database_is_away_there_is_no_answer_and_at_once_when_it_is_back(clock: list[float]) -> None:
    state = {"away": False}

    def ask() -> str:
        if state["away"]:
            raise DependencyUnavailable("database")
        return "here"

    one = Fresh(ask)
    found = [one.get()]
    clock[0] += 10.1
    for state["away"] in (True, False):
        found.append(one.get())
    assert found == ["here", None, "here"]
