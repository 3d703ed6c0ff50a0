"""The workflows that a workspace begins with, until it makes its own."""

from collections.abc import Iterator

from services.projects.model.workflows import Category, Definition, State, Subject, Transition


def default_definition(subject: Subject) -> Definition:
    """From an idea to done; back again; given up and taken up again."""
    return _DEFAULTS[subject]


def default_display_name(subject: Subject) -> str:
    """What it is called."""
    return f"{subject.value.capitalize()} workflow"


def _there(*ends: tuple[str, str]) -> Iterator[Transition]:
    yield from (Transition(a, b) for a, b in ends)


def _there_and_back(*ends: tuple[str, str]) -> Iterator[Transition]:
    yield from (Transition(*pair) for a, b in ends for pair in ((a, b), (b, a)))


_PROJECT = Definition(
    (
        State("backlog", "Backlog", Category.BACKLOG),
        State("planned", "Planned", Category.UNSTARTED),
        State("in_progress", "In progress", Category.STARTED),
        State("in_review", "In review", Category.STARTED),
        State("completed", "Completed", Category.COMPLETED),
        State("cancelled", "Cancelled", Category.CANCELLED),
    ),
    "backlog",
    (
        *_there_and_back(("backlog", "planned"), ("planned", "in_progress"), ("in_progress", "in_review")),
        *_there(("backlog", "in_progress"), ("in_progress", "completed"), ("in_review", "completed")),
        *_there(("completed", "in_progress"), ("in_progress", "cancelled"), ("in_review", "cancelled")),
        *_there_and_back(("backlog", "cancelled"), ("planned", "cancelled")),
    ),
)
_TASK = Definition(
    (
        State("todo", "To do", Category.UNSTARTED),
        State("doing", "Doing", Category.STARTED),
        State("done", "Done", Category.COMPLETED),
        State("cancelled", "Cancelled", Category.CANCELLED),
    ),
    "todo",
    (
        *_there_and_back(("todo", "doing"), ("doing", "done"), ("todo", "done"), ("todo", "cancelled")),
        *_there(("doing", "cancelled")),
    ),
)
_DEFAULTS = {Subject.PROJECT: _PROJECT, Subject.TASK: _TASK}
