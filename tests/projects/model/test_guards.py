"""Guards: what is accepted, what holds, and what it can cost."""

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest

from services.projects.model.guards import Witness, asks_caller, holds, problem_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALICE, BOB = "users/01992f00-0000-7000-8000-00000000000a", "users/01992f00-0000-7000-8000-00000000000b"
FACTS: dict[str, object] = {
    "display_name": "Apollo",
    "description": "",
    "state": "in_review",
    "category": "started",
    "author": ALICE,
    "assignee": "",
    "labels": ["moon", "urgent"],
    "due_time": None,
    "create_time": NOW - timedelta(days=3),
    "update_time": NOW,
}


def passes(guard: str, **facts: object) -> bool:
    return holds(guard, "project", FACTS | facts, Witness(BOB, "admin", NOW))


class TestHolds:
    @pytest.mark.parametrize(
        "guard",
        [
            "true",
            "'urgent' in project.labels",
            "project.labels.exists(label, label.startsWith('mo'))",
            "project.assignee == ''",
            "project.category == 'started' && project.author != caller.user",
            "caller.role == 'admin'",
            "project.due_time == null",
            "has(project.due_time)",
            "now - project.create_time > duration('48h')",
            "size(project.description) == 0",
        ],
    )
    def test_what_is_true_lets_pass(self, guard: str) -> None:
        assert passes(guard)

    @pytest.mark.parametrize("guard", ["false", "project.assignee != ''", "caller.role == 'owner'"])
    def test_what_is_false_does_not(self, guard: str) -> None:
        assert not passes(guard)

    @pytest.mark.parametrize(
        "guard",
        ["project.due_time < now", "project.labels[7] == 'x'", "1 / size(project.assignee) == 1", "project.nothing"],
    )
    def test_nor_does_what_cannot_be_told(self, guard: str) -> None:
        assert not passes(guard)

    def test_a_date_that_is_set_is_compared(self) -> None:
        assert passes("project.due_time > now", due_time=NOW + timedelta(days=1))
        assert not passes("project.due_time > now", due_time=NOW - timedelta(days=1))

    def test_what_is_neither_true_nor_false_does_not_let_pass(self) -> None:
        assert not passes("project.display_name")

    def test_a_guard_that_one_thread_compiled_serves_another(self) -> None:
        guard = "project.display_name == 'Apollo' && caller.role != ''"
        assert passes(guard)
        told: list[bool] = []
        thread = Thread(target=lambda: told.append(passes(guard)))
        thread.start()
        thread.join()
        assert told == [True]


class TestProblemOf:
    @pytest.mark.parametrize(
        "guard",
        [
            "project.assignee != ''",
            "project.due_time != null && project.due_time > now",
            "caller.user == project.author || caller.role in ['owner', 'admin']",
            "project.labels.all(label, size(label) < 20)",
            "project.labels.exists(a, project.labels.exists(b, a != b))",
            "'two\\nlines' != project.description",
        ],
    )
    def test_a_good_one_has_none(self, guard: str) -> None:
        assert problem_of(guard, "project") is None

    @pytest.mark.parametrize(
        ("guard", "problem"),
        [
            ("project.assignee ==", "no CEL expression"),
            ("((((", "no CEL expression"),
            ("task.assignee != ''", "not task"),
            ("true || secrets.all", "not secrets"),
            ("project.colour == 'red'", "cannot be told"),
            ("project.display_name", "true or false"),
            ("1 < 'a'", "cannot be told"),
            ("unknown(project)", "cannot be told"),
        ],
    )
    def test_a_bad_one_is_told_what_is_wrong(self, guard: str, problem: str) -> None:
        told = problem_of(guard, "project")
        assert told is not None
        assert problem in told

    def test_a_guard_of_tasks_knows_task(self) -> None:
        assert problem_of("task.assignee != ''", "task") is None

    def test_walks_within_walks_end_at_two(self) -> None:
        three = "project.labels.all(a, project.labels.all(b, project.labels.all(c, a + b + c != '')))"
        assert "comprehensions" in str(problem_of(three, "project"))
        assert "comprehensions" in str(problem_of(three.replace(".all(", " . all ("), "project"))

    @pytest.mark.parametrize("deep", ["(" * 499 + "true" + ")" * 499, "!" * 990 + "true", "[" * 490 + "]" * 490])
    def test_depth_breaks_nothing(self, deep: str) -> None:
        problem_of(deep, "project")


class TestAsksCaller:
    def test_tells_a_guard_about_who_asks(self) -> None:
        assert asks_caller("caller.role == 'admin'")
        assert not asks_caller("project.assignee != ''")
        assert not asks_caller("")
