"""Workflows: what can be run, how one version becomes the next, and what the defaults allow."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import FieldsInvalid
from services.projects.errors import StateInUse
from services.projects.model.default_workflows import default_definition
from services.projects.model.workflows import (
    Category,
    Definition,
    State,
    Subject,
    Transition,
    WorkflowPatch,
)
from tests.projects.model.definitions import NOW, STATES, USERS, attempt, definition, definitions, workflow


def faults(of: Definition) -> list[str]:
    """The fields that a refusal blames."""
    with pytest.raises(FieldsInvalid) as refused:
        of.check(Subject.PROJECT)
    return [violation.field for violation in refused.value.violations]


class TestCheck:
    @given(definitions())
    def test_what_can_be_run_passes(self, drawn: Definition) -> None:
        drawn.check(Subject.PROJECT)

    @pytest.mark.parametrize("subject", list(Subject))
    def test_the_defaults_can_be_run(self, subject: Subject) -> None:
        default_definition(subject).check(subject)

    def test_no_state_twice(self) -> None:
        assert faults(definition(states=("todo", "todo"))) == ["workflow.states"]

    def test_the_first_state_is_one_of_them(self) -> None:
        assert faults(Definition(definition().states, "gone", ())) == ["workflow.initial_state"]

    def test_every_fault_is_told_with_its_place(self) -> None:
        broken = definition(
            Transition("todo", "doing"),
            Transition("todo", "nowhere"),
            Transition("doing", "doing"),
            Transition("todo", "doing", guard="project."),
        )
        assert faults(broken) == [
            "workflow.transitions[1].to_state",
            "workflow.transitions[2].to_state",
            "workflow.transitions[3]",
            "workflow.transitions[3].guard",
        ]


class TestDefaults:
    @pytest.mark.parametrize("subject", list(Subject))
    def test_everything_can_be_begun_done_and_given_up(self, subject: Subject) -> None:
        of = default_definition(subject)
        reached = {of.initial_state}
        for _ in of.states:
            reached |= {transition.to_state for state in reached for transition in of.out_of(state)}
        assert reached == set(of.by_id)
        assert {Category.STARTED, Category.COMPLETED, Category.CANCELLED} <= {state.category for state in of.states}

    @pytest.mark.parametrize("subject", list(Subject))
    def test_nothing_is_stuck(self, subject: Subject) -> None:
        of = default_definition(subject)
        assert all(of.out_of(state) for state in of.by_id)


class TestStored:
    @given(definitions())
    def test_what_is_read_is_what_was_written(self, drawn: Definition) -> None:
        assert Definition.from_json(drawn.to_json()) == drawn


class TestChanged:
    def test_nothing_new_is_the_same_one(self) -> None:
        before = workflow(definition(Transition("todo", "doing")))
        assert before.changed(WorkflowPatch(display_name="Work", states=before.definition.states), NOW) is before

    def test_a_name_makes_no_new_version_of_the_definition(self) -> None:
        after = workflow(definition()).changed(WorkflowPatch(display_name="Play"), NOW)
        assert (after.display_name, after.definition_version, after.version) == ("Play", 1, 2)

    def test_a_state_does(self) -> None:
        before = workflow(definition())
        more = (*before.definition.states, State("parked", "Parked", Category.BACKLOG))
        after = before.changed(WorkflowPatch(states=more), NOW)
        assert (after.definition_version, after.version) == (2, 2)

    def test_a_transition_to_a_removed_state_is_refused(self) -> None:
        before = workflow(definition(Transition("todo", "done")))
        with pytest.raises(FieldsInvalid):
            before.changed(WorkflowPatch(states=before.definition.states[:2]), NOW)

    def test_the_default_stays_one_until_another_takes_over(self) -> None:
        with pytest.raises(FieldsInvalid):
            workflow(definition(), is_default=True).changed(WorkflowPatch(is_default=False), NOW)

    @pytest.mark.parametrize(
        "migrations",
        [(("todo", "doing"),), (("gone", "doing"),), (("done", "gone"),), (("done", "todo"), ("done", "doing"))],
    )
    def test_a_migration_leads_from_a_removed_state_to_one_that_is_there(
        self, migrations: tuple[tuple[str, str], ...]
    ) -> None:
        before = workflow(definition())
        with pytest.raises(FieldsInvalid):
            before.changed(WorkflowPatch(states=before.definition.states[:2], migrations=migrations), NOW)

    def test_what_an_event_tells(self) -> None:
        before = workflow(definition())
        after = before.changed(WorkflowPatch(description="New", states=before.definition.states[:2]), NOW)
        told = {change.field: (change.old_value, change.new_value) for change in after.changes_since(before)}
        assert told == {
            "description": ("", "New"),
            "states": ("todo, doing, done", "todo, doing"),
            "version": ("1", "2"),
        }


class TestRequirePlaces:
    def test_a_removed_state_in_use_is_refused_with_how_many(self) -> None:
        before = workflow(definition())
        after = before.changed(WorkflowPatch(states=before.definition.states[:2]), NOW)
        with pytest.raises(StateInUse) as refused:
            after.require_places(before, {}, {"done": 12}.__getitem__)
        assert refused.value.metadata == {"state": "done", "count": "12"}

    @given(definitions(), definitions(), st.dictionaries(st.sampled_from(STATES), st.integers(0, 3)), st.data())
    def test_whatever_passes_strands_nothing(
        self, old: Definition, new: Definition, left: Mapping[str, int], data: st.DataObject
    ) -> None:
        before, after = workflow(old), workflow(new)
        migrations = data.draw(st.dictionaries(st.sampled_from(STATES), st.sampled_from(list(new.by_id))))
        homeless = [state for state in set(old.by_id) - set(new.by_id) - set(migrations) if left.get(state)]
        _, refused = attempt(lambda: after.require_places(before, migrations, lambda state: left.get(state, 0)))
        assert isinstance(refused, StateInUse | None)
        assert (refused.metadata["state"] in homeless) if refused is not None else not homeless


class TestStranded:
    def test_what_waits_for_a_move_that_is_no_more(self) -> None:
        kept, lost, gone = USERS
        of = definition(Transition("todo", "doing"))
        waiting = [(kept, "todo", "doing"), (lost, "doing", "todo"), (gone, "parked", "todo"), (lost, "a", "b")]
        assert of.stranded(waiting) == [lost, gone]
