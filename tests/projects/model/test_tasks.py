"""Tasks: what a patch changes, and that there is room between any two places."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import FieldsInvalid
from services.projects.model.changes import FieldChange, To
from services.projects.model.tasks import MAX_POSITION_LENGTH, Task, TaskPatch, position_between, spread
from services.projects.model.workflows import Category, State

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = START + timedelta(hours=1)
TASK = Task(
    workspace_id=UUID(int=1),
    project_id=UUID(int=2),
    task_id=UUID(int=3),
    workflow_id=UUID(int=4),
    display_name="Write",
    description="",
    state="todo",
    state_category=Category.UNSTARTED,
    author_id=UUID(int=5),
    assignee_id=None,
    labels=("red",),
    due_time=None,
    position="a0",
    version=3,
    create_time=START,
    update_time=START,
)


class TestChanged:
    @pytest.mark.parametrize(
        "patch",
        [TaskPatch(), TaskPatch(display_name="Write", assignee_id=To(None), labels=("red",), due_time=To(None))],
    )
    def test_what_changes_nothing_leaves_the_very_task(self, patch: TaskPatch) -> None:
        assert TASK.changed(patch, LATER) is TASK

    def test_tells_each_field_that_changed(self) -> None:
        patch = TaskPatch(display_name="Read", assignee_id=To(UUID(int=6)), labels=(), due_time=To(LATER))
        after = TASK.changed(patch, LATER)
        assert (after.version, after.update_time, after.state) == (4, LATER, "todo")
        assert after.changes_since(TASK) == [
            FieldChange("display_name", "Write", "Read"),
            FieldChange("assignee", "", f"users/{UUID(int=6)}"),
            FieldChange("labels", "red", ""),
            FieldChange("due_time", "", "2026-03-01T13:00:00Z"),
        ]
        cleared = after.changed(TaskPatch(assignee_id=To(None), due_time=To(None)), LATER)
        assert (cleared.assignee_id, cleared.due_time, cleared.display_name) == (None, None, "Read")

    def test_needs_a_name(self) -> None:
        with pytest.raises(FieldsInvalid):
            TASK.changed(TaskPatch(display_name=""), LATER)

    def test_keeps_its_workflow(self) -> None:
        assert TASK.changed(TaskPatch(workflow_id=TASK.workflow_id), LATER) is TASK
        with pytest.raises(FieldsInvalid):
            TASK.changed(TaskPatch(workflow_id=UUID(int=99)), LATER)

    def test_a_state_brings_its_category(self) -> None:
        after = TASK.in_state(State("done", "Done", Category.COMPLETED), LATER)
        assert (after.state, after.state_category, after.version) == ("done", Category.COMPLETED, 4)


class TestPosition:
    @given(st.lists(st.integers(0, 1000), max_size=60))
    def test_there_is_always_room_where_one_is_put(self, places: list[int]) -> None:
        positions: list[str] = []
        for place in places:
            at = place % (len(positions) + 1)
            before = positions[at - 1] if at else None
            after = positions[at] if at < len(positions) else None
            positions.insert(at, position_between(before, after))
        assert positions == sorted(positions)
        assert len(set(positions)) == len(positions)
        # As PostgreSQL compares them, byte by byte.
        assert [one.encode() for one in positions] == sorted(one.encode() for one in positions)

    def test_appending_and_prepending_stay_short(self) -> None:
        last = first = position_between(None, None)
        for _ in range(5000):
            last, first = position_between(last, None), position_between(None, first)
        assert max(len(last), len(first)) <= 5

    def test_one_gap_takes_hundreds_before_it_is_spread_anew(self) -> None:
        before, after, count = "a0", "a1", 0
        while len(after) <= MAX_POSITION_LENGTH:
            after = position_between(before, after)
            count += 1
        assert count > 500

    @given(st.integers(0, 300))
    def test_a_spread_is_in_order_and_short(self, count: int) -> None:
        positions = spread(count)
        assert len(positions) == count
        assert positions == sorted(set(positions))
        assert all(len(one) <= 4 for one in positions)
