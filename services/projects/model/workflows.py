"""Workflows: states, the transitions between them, and how one version becomes the next."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Self
from uuid import UUID

from services.kernel.errors import FieldsInvalid, FieldViolation
from services.projects.errors import StateInUse
from services.projects.model.changes import FieldChange, changes_of
from services.projects.model.guards import problem_of
from services.projects.model.names import WORKFLOW

MAX_WORKFLOWS = 50


class Subject(StrEnum):
    """What a workflow is for."""

    PROJECT = "project"
    TASK = "task"


class Category(StrEnum):
    """What a state means, whatever a workspace calls it."""

    BACKLOG = "backlog"
    UNSTARTED = "unstarted"
    STARTED = "started"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class State:
    """A state; `state_id` is what transitions and clients call it."""

    state_id: str
    display_name: str
    category: Category


@dataclass(frozen=True, slots=True)
class Transition:
    """A move between two states, and who may make it.

    `roles` are ids of roles. With none, and neither exception, every role may that may make transitions at all.
    """

    from_state: str
    to_state: str
    roles: frozenset[str] = frozenset()
    author_allowed: bool = False
    assignee_allowed: bool = False
    guard: str = ""
    required_approvals: int = 0

    @property
    def open_to_all(self) -> bool:
        """Whether it is left to the permission alone."""
        return not (self.roles or self.author_allowed or self.assignee_allowed)


@dataclass(frozen=True)
class Definition:
    """One version of a workflow's states and transitions."""

    states: tuple[State, ...]
    initial_state: str
    transitions: tuple[Transition, ...]

    @cached_property
    def by_id(self) -> Mapping[str, State]:
        """The states by their ids."""
        return {state.state_id: state for state in self.states}

    @cached_property
    def by_ends(self) -> Mapping[tuple[str, str], Transition]:
        """The transitions by the states before and after."""
        return {(transition.from_state, transition.to_state): transition for transition in self.transitions}

    def out_of(self, state: str) -> list[Transition]:
        """The transitions out of a state, in the order of the states that they lead to."""
        return [self.by_ends[state, to_state] for to_state in self.by_id if (state, to_state) in self.by_ends]

    def stranded(self, waiting: Iterable[tuple[UUID, str, str]]) -> list[UUID]:
        """Of items that wait for an approval (id, state, state asked for): those whose move is no more."""
        return sorted({item for item, *ends in waiting if tuple(ends) not in self.by_ends})

    def check(self, subject: Subject) -> None:
        """Let pass only what an engine can run. Raises FieldsInvalid, which lists every fault."""
        violations = [*self._faults_of_states(), *self._faults_of_transitions(subject)]
        if violations:
            raise FieldsInvalid(*violations)

    def _faults_of_states(self) -> Iterable[FieldViolation]:
        if not self.states:
            yield FieldViolation("workflow.states", "must list at least one")
        for state_id, count in Counter(state.state_id for state in self.states).items():
            if count > 1:
                yield FieldViolation("workflow.states", f"lists {state_id} {count} times")
        if self.initial_state not in self.by_id:
            yield FieldViolation("workflow.initial_state", "is not one of the states")

    def _faults_of_transitions(self, subject: Subject) -> Iterable[FieldViolation]:
        seen: set[tuple[str, str]] = set()
        for n, transition in enumerate(self.transitions):
            field, ends = f"workflow.transitions[{n}]", (transition.from_state, transition.to_state)
            for name, state in zip(("from_state", "to_state"), ends, strict=True):
                if state not in self.by_id:
                    yield FieldViolation(f"{field}.{name}", "is not one of the states")
            if transition.from_state == transition.to_state:
                yield FieldViolation(f"{field}.to_state", "is the state before: a move leads elsewhere")
            if ends in seen:
                yield FieldViolation(field, "is there twice")
            seen.add(ends)
            problem = problem_of(transition.guard, subject) if transition.guard else None
            if problem is not None:
                yield FieldViolation(f"{field}.guard", problem)

    def to_json(self) -> dict[str, Any]:
        """As it is stored; Any, as JSON holds anything."""
        return {
            "states": [[state.state_id, state.display_name, state.category.value] for state in self.states],
            "initial_state": self.initial_state,
            "transitions": [
                {
                    "from": transition.from_state,
                    "to": transition.to_state,
                    "roles": sorted(transition.roles),
                    "author": transition.author_allowed,
                    "assignee": transition.assignee_allowed,
                    "guard": transition.guard,
                    "approvals": transition.required_approvals,
                }
                for transition in self.transitions
            ],
        }

    @classmethod
    def from_json(cls, definition: Mapping[str, Any]) -> Self:
        """What `to_json` made."""
        return cls(
            states=tuple(
                State(state_id, name, Category(category)) for state_id, name, category in definition["states"]
            ),
            initial_state=definition["initial_state"],
            transitions=tuple(
                Transition(
                    one["from"],
                    one["to"],
                    frozenset(one["roles"]),
                    one["author"],
                    one["assignee"],
                    one["guard"],
                    one["approvals"],
                )
                for one in definition["transitions"]
            ),
        )


@dataclass(frozen=True, slots=True)
class WorkflowPatch:
    """New values of a workflow; None leaves as it is. `migrations` says where the items of removed states go."""

    display_name: str | None = None
    description: str | None = None
    states: tuple[State, ...] | None = None
    initial_state: str | None = None
    transitions: tuple[Transition, ...] | None = None
    is_default: bool | None = None
    migrations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as its newest version has it. `definition_version` counts definitions, `version` every change."""

    workspace_id: UUID
    workflow_id: UUID
    display_name: str
    description: str
    subject: Subject
    is_default: bool
    definition: Definition
    definition_version: int
    version: int
    create_time: datetime
    update_time: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return WORKFLOW.format(workspace=self.workspace_id, workflow=self.workflow_id)

    def changed(self, patch: WorkflowPatch, now: datetime) -> Self:
        """The workflow after the patch; the same one when nothing differs.

        Raises FieldsInvalid for a definition that cannot be run, migrations that do not fit it, or an attempt to leave
        the subject without a default.
        """
        if patch.display_name == "":
            raise FieldsInvalid(FieldViolation("workflow.display_name", "must not be empty"))
        if patch.is_default is False and self.is_default:
            raise FieldsInvalid(FieldViolation("workflow.is_default", "make another workflow the default instead"))
        definition = Definition(
            self.definition.states if patch.states is None else patch.states,
            self.definition.initial_state if patch.initial_state is None else patch.initial_state,
            self.definition.transitions if patch.transitions is None else patch.transitions,
        )
        definition.check(self.subject)
        self._check_migrations(definition, patch.migrations)
        after = replace(
            self,
            display_name=self.display_name if patch.display_name is None else patch.display_name,
            description=self.description if patch.description is None else patch.description,
            is_default=self.is_default if patch.is_default is None else patch.is_default,
            definition=definition,
            definition_version=self.definition_version + (definition != self.definition),
        )
        return self if after == self else replace(after, version=self.version + 1, update_time=now)

    def _check_migrations(self, definition: Definition, migrations: tuple[tuple[str, str], ...]) -> None:
        seen: set[str] = set()
        for n, (from_state, to_state) in enumerate(migrations):
            field = f"workflow.state_migrations[{n}]"
            if from_state not in self.definition.by_id or from_state in definition.by_id:
                raise FieldsInvalid(FieldViolation(f"{field}.from_state", "is not a state that this change removes"))
            if to_state not in definition.by_id:
                raise FieldsInvalid(FieldViolation(f"{field}.to_state", "is not one of the states"))
            if from_state in seen:
                raise FieldsInvalid(FieldViolation(f"{field}.from_state", "is there twice"))
            seen.add(from_state)

    def require_places(self, before: Self, migrations: Mapping[str, str], count: Callable[[str], int]) -> None:
        """Let pass only where nothing is left in a state that is gone; `count` tells how much there is in a state.

        Raises StateInUse.
        """
        for state in before.definition.by_id:
            if state not in self.definition.by_id and state not in migrations and (left := count(state)):
                raise StateInUse(state, left)

    def recategorized_since(self, before: Self) -> list[State]:
        """The states that mean something else than in `before`."""
        return [
            state
            for state_id, state in self.definition.by_id.items()
            if state_id in before.definition.by_id and before.definition.by_id[state_id].category is not state.category
        ]

    def changes_since(self, before: Self) -> list[FieldChange]:
        """What an event tells of the change."""
        told = changes_of(before, self, ("display_name", "description", "is_default"))
        states = (", ".join(workflow.definition.by_id) for workflow in (before, self))
        old, new = states
        if old != new:
            told.append(FieldChange("states", old, new))
        if self.definition_version != before.definition_version:
            told.append(FieldChange("version", str(before.definition_version), str(self.definition_version)))
        return told


@dataclass(frozen=True, slots=True)
class WorkflowVersion:
    """The definition of a workflow as it was at one version."""

    workspace_id: UUID
    workflow_id: UUID
    version: int
    definition: Definition
    create_time: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{WORKFLOW.format(workspace=self.workspace_id, workflow=self.workflow_id)}/versions/{self.version}"
