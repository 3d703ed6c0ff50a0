"""Items: what a patch changes of a project or a task, and what guards know of either."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import FieldsInvalid
from services.projects.model.changes import FieldChange, To
from services.projects.model.items import Item, ItemPatch, NewItem
from services.projects.model.projects import Project
from services.projects.model.workflows import Category, State
from tests.projects.model.definitions import NOW, USERS, WORKFLOW_ID, definition, project, task, workflow

LATER = NOW + timedelta(hours=1)
ITEMS = (project(version=3), task(version=3))
either = pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.subject)
patches = st.builds(
    ItemPatch,
    display_name=st.none() | st.text(min_size=1),
    description=st.none() | st.text(),
    assignee_id=st.none() | st.builds(To, st.sampled_from([None, *USERS])),
    labels=st.none() | st.lists(st.text(min_size=1)).map(tuple),
    due_time=st.none() | st.builds(To, st.none() | st.just(LATER)),
)


class TestBegun:
    def test_is_in_the_first_state_of_its_workflow(self) -> None:
        new = NewItem("Apollo", "To the moon", None, USERS[1], ("moon",), LATER)
        begun = Project.begun(new, workflow(definition()), USERS[0], NOW, project_id=UUID(int=9))
        assert (begun.workflow_id, begun.state, begun.state_category) == (WORKFLOW_ID, "todo", Category.STARTED)
        assert (begun.author_id, begun.assignee_id, begun.labels, begun.due_time) == (*USERS[:2], ("moon",), LATER)
        assert (begun.version, begun.create_time, begun.update_time) == (1, NOW, NOW)


class TestChanged:
    @given(st.sampled_from(ITEMS), patches)
    def test_an_event_tells_of_exactly_what_a_patch_changes(self, item: Item, patch: ItemPatch) -> None:
        after = item.changed(patch, LATER)
        told = [change.field for change in after.changes_since(item)]
        if after is item:
            assert told == []
        else:
            assert (after.version, after.update_time, after.state) == (4, LATER, "todo")
            assert told
        assert after.changed(patch, LATER) is after

    @either
    def test_what_is_as_it_was_leaves_the_very_item(self, item: Item) -> None:
        same = ItemPatch(item.workflow_id, item.display_name, "", To(None), ("red",), To(None))
        assert item.changed(same, LATER) is item

    @either
    def test_everything_that_changed_is_told(self, item: Item) -> None:
        after = item.changed(ItemPatch(None, "Read", None, To(USERS[1]), (), To(LATER)), LATER)
        assert after.changes_since(item) == [
            FieldChange("display_name", item.display_name, "Read"),
            FieldChange("assignee", "", f"users/{USERS[1]}"),
            FieldChange("labels", "red", ""),
            FieldChange("due_time", "", "2026-03-01T13:00:00Z"),
        ]
        cleared = after.changed(ItemPatch(assignee_id=To(None), due_time=To(None)), LATER)
        assert (cleared.assignee_id, cleared.due_time, cleared.display_name) == (None, None, "Read")

    @either
    @pytest.mark.parametrize(
        ("field", "patch"),
        [("display_name", ItemPatch(display_name="")), ("workflow", ItemPatch(workflow_id=UUID(int=99)))],
    )
    def test_keeps_a_name_and_its_workflow(self, item: Item, field: str, patch: ItemPatch) -> None:
        with pytest.raises(FieldsInvalid) as refused:
            item.changed(patch, LATER)
        assert [violation.field for violation in refused.value.violations] == [f"{item.subject}.{field}"]


class TestInState:
    @either
    def test_a_state_brings_its_category(self, item: Item) -> None:
        after = item.in_state(State("done", "Done", Category.COMPLETED), LATER)
        assert (after.state, after.state_category, after.version) == ("done", Category.COMPLETED, 4)


class TestFacts:
    @either
    def test_guards_see_names_not_ids(self, item: Item) -> None:
        assert item.facts()["assignee"] == ""
        facts = item.changed(ItemPatch(assignee_id=To(USERS[1])), LATER).facts()
        assert (facts["author"], facts["assignee"]) == (f"users/{USERS[0]}", f"users/{USERS[1]}")
        assert (facts["category"], facts["due_time"]) == ("unstarted", None)
