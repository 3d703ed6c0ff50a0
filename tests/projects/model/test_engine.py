"""The workflow engine: who may go where; and, drawn at random, that nothing ever gets lost on the way."""

from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.kernel.errors import FieldsInvalid, PlinthError
from services.projects.errors import (
    GuardRefused,
    StateUnknown,
    TransitionRoleDenied,
    TransitionUnknown,
)
from services.projects.model.engine import Actor, Move, Rules, available, decide, decide_approved
from services.projects.model.items import Item
from services.projects.model.workflows import Definition, Transition, Workflow, WorkflowPatch
from tests.projects.model.definitions import (
    FAILING,
    NOW,
    ROLES,
    STATES,
    USERS,
    attempt,
    definition,
    definitions,
    project,
    task,
    workflow,
)

ALICE, BOB, CAROL = USERS


def rules(*moves: Transition) -> Rules:
    return Rules(definition(*moves), 7)


def item(state: str = "todo", author: UUID = ALICE, assignee: UUID | None = None) -> Item:
    return project(state=state, author_id=author, assignee_id=assignee)


class TestDecide:
    def test_a_move_that_is_open_to_all(self) -> None:
        move = decide(rules(Transition("todo", "doing", required_approvals=2)), item(), "doing", Actor(BOB, "x"), NOW)
        assert move is not None
        assert (move.from_state.state_id, move.to_state.state_id) == ("todo", "doing")
        assert (move.required_approvals, move.workflow_version) == (2, 7)

    def test_whoever_asks_for_where_it_is_gets_no_move_and_no_refusal(self) -> None:
        assert decide(rules(), item("todo"), "todo", Actor(BOB, "viewer"), NOW) is None

    def test_a_state_that_is_none(self) -> None:
        with pytest.raises(StateUnknown):
            decide(rules(), item(), "shipped", Actor(BOB, "owner"), NOW)

    def test_no_move_between_these(self) -> None:
        with pytest.raises(TransitionUnknown):
            decide(rules(Transition("doing", "todo")), item(), "doing", Actor(BOB, "owner"), NOW)

    @pytest.mark.parametrize(
        ("actor", "allowed"),
        [
            (Actor(CAROL, "admin"), True),
            (Actor(CAROL, "owner"), False),
            (Actor(ALICE, "member"), True),
            (Actor(BOB, "member"), True),
            (Actor(CAROL, "member"), False),
        ],
    )
    def test_roles_with_exceptions_for_author_and_assignee(self, actor: Actor, allowed: bool) -> None:
        matrix = rules(Transition("todo", "doing", frozenset({"admin"}), author_allowed=True, assignee_allowed=True))
        if allowed:
            assert decide(matrix, item(assignee=BOB), "doing", actor, NOW)
        else:
            with pytest.raises(TransitionRoleDenied):
                decide(matrix, item(assignee=BOB), "doing", actor, NOW)

    def test_an_exception_alone_leaves_nobody_else(self) -> None:
        with pytest.raises(TransitionRoleDenied):
            decide(rules(Transition("todo", "doing", author_allowed=True)), item(), "doing", Actor(BOB, "owner"), NOW)

    def test_nobody_assigned_is_nobody(self) -> None:
        with pytest.raises(TransitionRoleDenied):
            decide(rules(Transition("todo", "doing", assignee_allowed=True)), item(), "doing", Actor(BOB, "x"), NOW)

    def test_the_role_is_asked_before_the_guard(self) -> None:
        matrix = rules(Transition("todo", "doing", frozenset({"admin"}), guard="false"))
        with pytest.raises(TransitionRoleDenied):
            decide(matrix, item(), "doing", Actor(BOB, "member"), NOW)
        with pytest.raises(GuardRefused) as refused:
            decide(matrix, item(), "doing", Actor(BOB, "admin"), NOW)
        assert refused.value.metadata == {"guard": "false"}

    def test_a_guard_knows_a_task_by_that_name(self) -> None:
        guarded = rules(Transition("todo", "doing", guard="task.display_name == 'Write'"))
        assert decide(guarded, task(), "doing", Actor(BOB, "x"), NOW)


class TestDecideApproved:
    def test_needs_no_role_any_more(self) -> None:
        matrix = rules(Transition("todo", "doing", frozenset({"admin"})))
        assert decide_approved(matrix, item(), "doing", BOB, NOW).to_state.state_id == "doing"

    def test_but_its_guard_must_still_hold(self) -> None:
        with pytest.raises(GuardRefused):
            decide_approved(rules(Transition("todo", "doing", guard="false")), item(), "doing", BOB, NOW)

    def test_a_guard_about_who_asks_was_answered_when_they_asked(self) -> None:
        matrix = rules(Transition("todo", "doing", guard="caller.role == 'admin'"))
        assert decide_approved(matrix, item(), "doing", BOB, NOW).to_state.state_id == "doing"


class TestAvailable:
    @given(definitions(), st.data())
    def test_it_says_of_every_move_what_the_attempt_would_say(self, of: Definition, data: st.DataObject) -> None:
        book = Rules(of, 1)
        there = item(data.draw(st.sampled_from(list(of.by_id))), ALICE, data.draw(st.sampled_from([None, BOB])))
        actor = Actor(data.draw(st.sampled_from(USERS)), data.draw(st.sampled_from(ROLES)))
        told = {one.to_state.state_id: one for one in available(book, there, actor, NOW)}
        for to_state in set(of.by_id) - {there.state}:
            move, refused = attempt(partial(decide, book, there, to_state, actor, NOW))
            if isinstance(refused, TransitionUnknown):
                assert to_state not in told
                continue
            said = told[to_state].refusal
            assert type(said) is type(refused)
            if said is not None and refused is not None:
                assert said.metadata == refused.metadata
            if move is not None:
                assert told[to_state].required_approvals == move.required_approvals


class Board(RuleBasedStateMachine):
    """A workflow that is rewritten again and again while projects move along it and wait for approvals.

    `seen` is what the outside world has read of each project; whatever is refused changes none of it.
    """

    @initialize(of=definitions())
    def begin(self, of: Definition) -> None:
        self.workflow: Workflow = workflow(of)
        self.states: list[str] = []
        self.waiting: dict[int, tuple[str, str]] = {}
        self.now = NOW

    def _rules(self) -> Rules:
        return Rules(self.workflow.definition, self.workflow.definition_version)

    def _item(self, number: int) -> Item:
        return item(self.states[number], USERS[number % 3], USERS[(number + 1) % 3])

    def _arrive(self, number: int, move: Move) -> None:
        assert self.states[number] == move.from_state.state_id
        self.states[number] = move.to_state.state_id
        self.waiting.pop(number, None)

    @rule()
    def create(self) -> None:
        if len(self.states) < 4:
            self.states.append(self.workflow.definition.initial_state)

    @rule(
        number=st.integers(0, 3),
        to_state=st.sampled_from(STATES),
        user=st.sampled_from(USERS),
        role=st.sampled_from(ROLES),
    )
    def transition(self, number: int, to_state: str, user: UUID, role: str) -> None:
        if number >= len(self.states):
            return
        before = self._item(number)
        expected = self._expected(before, to_state, user, role)
        move, refused = attempt(lambda: decide(self._rules(), before, to_state, Actor(user, role), self.now))
        assert type(refused) is (expected or type(None))
        if refused is not None:
            return
        assert (move is None) == (before.state == to_state)
        if move is not None and move.required_approvals:
            self.waiting[number] = (before.state, to_state)
        elif move is not None:
            self._arrive(number, move)

    def _expected(self, before: Item, to_state: str, user: UUID, role: str) -> type[PlinthError] | None:
        """The same, said otherwise: by looking through the list of transitions."""
        of = self.workflow.definition
        if before.state == to_state:
            return None
        if to_state not in [state.state_id for state in of.states]:
            return StateUnknown
        found = [one for one in of.transitions if (one.from_state, one.to_state) == (before.state, to_state)]
        if not found:
            return TransitionUnknown
        [one] = found
        everybody = not one.roles and not one.author_allowed and not one.assignee_allowed
        by_role = role in one.roles
        by_exception = (one.author_allowed and user == before.author_id) or (
            one.assignee_allowed and user == before.assignee_id
        )
        if not (everybody or by_role or by_exception):
            return TransitionRoleDenied
        return GuardRefused if one.guard in FAILING else None

    @rule(number=st.integers(0, 3))
    def approve(self, number: int) -> None:
        if number not in self.waiting:
            return
        _, to_state = self.waiting[number]
        move, refused = attempt(lambda: decide_approved(self._rules(), self._item(number), to_state, ALICE, self.now))
        assert isinstance(refused, GuardRefused | None)
        if refused is not None:
            assert self.workflow.definition.by_ends[self.waiting[number]].guard in FAILING
        if move is not None:
            self._arrive(number, move)

    @rule(of=definitions(), data=st.data())
    def rewrite(self, of: Definition, data: st.DataObject) -> None:
        before = self.workflow
        removed = [state for state in before.definition.by_id if state not in of.by_id]
        migrations = tuple(
            (state, data.draw(st.sampled_from(list(of.by_id)))) for state in removed if data.draw(st.booleans())
        )
        patch = WorkflowPatch(
            states=of.states, initial_state=of.initial_state, transitions=of.transitions, migrations=migrations
        )
        self.now += timedelta(seconds=1)
        after = before.changed(patch, self.now)
        _, refused = attempt(lambda: after.require_places(before, dict(migrations), self.states.count))
        homeless = {state for state in removed if state in self.states} - set(dict(migrations))
        if refused is not None:
            assert refused.metadata["state"] in homeless
            assert refused.metadata["count"] == str(self.states.count(refused.metadata["state"]))
            return
        assert not homeless
        self.workflow = after
        self.states = [dict(migrations).get(state, state) for state in self.states]
        numbers = {UUID(int=number): number for number in self.waiting}
        waits = [(key, *self.waiting[number]) for key, number in numbers.items()]
        for key in of.stranded(waits):
            del self.waiting[numbers[key]]

    @rule(of=definitions(), data=st.data())
    def rewrite_with_a_migration_that_leads_nowhere(self, of: Definition, data: st.DataObject) -> None:
        kept = [state for state in of.by_id if state in self.workflow.definition.by_id]
        if not kept:
            return
        patch = WorkflowPatch(
            states=of.states,
            initial_state=of.initial_state,
            transitions=of.transitions,
            migrations=((data.draw(st.sampled_from(kept)), of.initial_state),),
        )
        with pytest.raises(FieldsInvalid):
            self.workflow.changed(patch, self.now)

    @invariant()
    def every_project_is_in_a_state_of_its_workflow(self) -> None:
        if hasattr(self, "workflow"):
            assert set(self.states) <= set(self.workflow.definition.by_id)

    @invariant()
    def everything_that_waits_waits_for_a_move_that_it_could_make(self) -> None:
        if hasattr(self, "workflow"):
            for number, ends in self.waiting.items():
                assert ends[0] == self.states[number]
                assert ends in self.workflow.definition.by_ends

    @invariant()
    def versions_only_grow(self) -> None:
        if hasattr(self, "workflow"):
            assert self.workflow.version >= self.workflow.definition_version >= 1


TestBoard = Board.TestCase
TestBoard.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
