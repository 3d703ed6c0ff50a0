"""Projects: changes, soft deletion."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import FieldsInvalid
from services.projects.errors import ProjectDeleted
from services.projects.model.changes import To
from services.projects.model.projects import PURGE_AFTER, Project, ProjectPatch
from services.projects.model.workflows import Category, State
from tests.projects.model.definitions import NOW, USERS, WORKFLOW_ID, WORKSPACE_ID

LATER = NOW + timedelta(hours=1)
PROJECT = Project(
    workspace_id=WORKSPACE_ID,
    project_id=UUID(int=9),
    workflow_id=WORKFLOW_ID,
    display_name="Apollo",
    description="",
    state="todo",
    state_category=Category.UNSTARTED,
    author_id=USERS[0],
    assignee_id=None,
    labels=(),
    due_time=None,
    version=1,
    create_time=NOW,
    update_time=NOW,
)
patches = st.builds(
    ProjectPatch,
    display_name=st.none() | st.text(min_size=1),
    description=st.none() | st.text(),
    assignee_id=st.none() | st.builds(To, st.sampled_from([None, *USERS])),
    labels=st.none() | st.lists(st.text(min_size=1)).map(tuple),
    due_time=st.none() | st.builds(To, st.none() | st.just(LATER)),
)


class TestChanged:
    @given(patches)
    def test_an_event_tells_of_exactly_what_a_patch_changes(self, patch: ProjectPatch) -> None:
        after = PROJECT.changed(patch, LATER)
        told = [change.field for change in after.changes_since(PROJECT)]
        if after is PROJECT:
            assert told == []
        else:
            assert (after.version, after.update_time) == (2, LATER)
            assert told
        assert after.changed(patch, LATER) is after

    def test_a_name_is_not_taken_away(self) -> None:
        with pytest.raises(FieldsInvalid):
            PROJECT.changed(ProjectPatch(display_name=""), LATER)

    def test_who_was_assigned_can_be_let_go(self) -> None:
        assigned = PROJECT.changed(ProjectPatch(assignee_id=To(USERS[1])), LATER)
        assert assigned.assignee_id == USERS[1]
        assert assigned.changed(ProjectPatch(assignee_id=To(None)), LATER).assignee_id is None


class TestDeleted:
    def test_deleted_and_back_it_is_as_it_was_but_for_its_version(self) -> None:
        deleted = PROJECT.after_delete(LATER)
        assert deleted.deleted
        assert deleted.purge_time == LATER + PURGE_AFTER
        with pytest.raises(ProjectDeleted):
            deleted.require_living()
        back = deleted.after_undelete(LATER)
        back.require_living()
        assert back.version == 3
        assert back.item().state == PROJECT.state

    def test_twice_is_once(self) -> None:
        deleted = PROJECT.after_delete(LATER)
        assert deleted.after_delete(LATER) is deleted
        assert PROJECT.after_undelete(LATER) is PROJECT

    @pytest.mark.parametrize(("at", "gone"), [(LATER, False), (LATER + PURGE_AFTER, True)])
    def test_it_is_gone_at_its_purge_time(self, at: datetime, gone: bool) -> None:
        assert PROJECT.after_delete(LATER).gone(at) is gone
        assert not PROJECT.gone(at)


class TestItem:
    def test_guards_see_names_not_ids(self) -> None:
        assigned = PROJECT.changed(ProjectPatch(assignee_id=To(USERS[1])), LATER)
        facts = assigned.item().facts
        assert (facts["author"], facts["assignee"]) == (f"users/{USERS[0]}", f"users/{USERS[1]}")
        assert facts["category"] == "unstarted"

    def test_and_the_state_that_it_is_in(self) -> None:
        moved = PROJECT.in_state(State("done", "Done", Category.COMPLETED), LATER)
        assert (moved.item().state, moved.state_category, moved.version) == ("done", Category.COMPLETED, 2)
