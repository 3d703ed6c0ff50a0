"""Workflows, and what follows them, for the tests of the model: built by hand, and drawn by hypothesis."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from hypothesis import strategies as st

from services.kernel.errors import PlinthError
from services.projects.model.projects import Project
from services.projects.model.tasks import Task
from services.projects.model.workflows import Category, Definition, State, Subject, Transition, Workflow

T = TypeVar("T")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORKSPACE_ID = UUID("01992f00-0000-7000-8000-000000000001")
WORKFLOW_ID = UUID("01992f00-0000-7000-8000-000000000002")
USERS = [UUID(int=0x01992F00_0000_7000_8000_00000000000A + n) for n in range(3)]
ROLES = ("owner", "admin", "member")
STATES = tuple(f"s{n}" for n in range(5))
# Some that hold for every item of the tests, and some that hold for none.
HOLDING, FAILING = ("", "true", "project.state != ''"), ("false", "project.due_time < now")

_ITEM: dict[str, object] = {
    "workspace_id": WORKSPACE_ID,
    "project_id": UUID(int=2),
    "workflow_id": WORKFLOW_ID,
    "description": "",
    "state": "todo",
    "state_category": Category.UNSTARTED,
    "author_id": USERS[0],
    "assignee_id": None,
    "labels": ("red",),
    "due_time": None,
    "version": 1,
    "create_time": NOW,
    "update_time": NOW,
}


def attempt(work: Callable[[], T]) -> tuple[T | None, PlinthError | None]:
    """What came of it: an answer, or a refusal."""
    try:
        return work(), None
    except PlinthError as refused:
        return None, refused


def definition(*moves: Transition, states: tuple[str, ...] = ("todo", "doing", "done")) -> Definition:
    """A workflow of these states with these moves."""
    return Definition(tuple(State(state, state.title(), Category.STARTED) for state in states), states[0], moves)


def workflow(of: Definition, **fields: object) -> Workflow:
    """A workflow with this definition."""
    values: dict[str, object] = {
        "workspace_id": WORKSPACE_ID,
        "workflow_id": WORKFLOW_ID,
        "display_name": "Work",
        "description": "",
        "subject": Subject.PROJECT,
        "is_default": False,
        "definition": of,
        "definition_version": 1,
        "version": 1,
        "create_time": NOW,
        "update_time": NOW,
    }
    return Workflow(**(values | fields))  # type: ignore[arg-type]  # the fields of a workflow


def project(**fields: object) -> Project:
    """A project, created by the first of USERS, that follows that workflow."""
    values: dict[str, object] = {**_ITEM, "display_name": "Apollo"}
    return Project(**(values | fields))  # type: ignore[arg-type]  # the fields of a project


def task(**fields: object) -> Task:
    """A task, created by the first of USERS, that follows that workflow."""
    values: dict[str, object] = {**_ITEM, "display_name": "Write", "task_id": UUID(int=3), "position": "a0"}
    return Task(**(values | fields))  # type: ignore[arg-type]  # the fields of a task


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """Any workflow that the engine can run."""
    ids = draw(st.lists(st.sampled_from(STATES), min_size=1, unique=True))
    states = tuple(State(state, state.upper(), draw(st.sampled_from(Category))) for state in ids)
    ends = draw(st.lists(st.tuples(st.sampled_from(ids), st.sampled_from(ids)), max_size=12, unique=True))
    moves = tuple(
        Transition(
            a,
            b,
            draw(st.frozensets(st.sampled_from(ROLES), max_size=2)),
            draw(st.booleans()),
            draw(st.booleans()),
            draw(st.sampled_from(HOLDING + FAILING)),
            draw(st.integers(0, 2)),
        )
        for a, b in ends
        if a != b
    )
    return Definition(states, draw(st.sampled_from(ids)), moves)
