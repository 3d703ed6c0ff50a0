"""The workflow engine: may this project (or task) go there, at this person's request, now?"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.kernel.errors import PlinthError
from services.kernel.names import USER
from services.projects.errors import GuardRefused, StateUnknown, TransitionRoleDenied, TransitionUnknown
from services.projects.model.guards import Witness, asks_caller, holds
from services.projects.model.items import Item
from services.projects.model.workflows import Definition, State, Transition


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of a workflow, as the engine runs it."""

    definition: Definition
    version: int


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a move; `role` is the id of the role."""

    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class Move:
    """A move that may be made, once so many have approved."""

    from_state: State
    to_state: State
    required_approvals: int
    workflow_version: int


@dataclass(frozen=True, slots=True)
class Available:
    """A state that an item could go to, and what the attempt would raise; None: nothing."""

    to_state: State
    refusal: PlinthError | None
    required_approvals: int


def decide(rules: Rules, item: Item, to_state: str, actor: Actor, now: datetime) -> Move | None:
    """The move that the actor asks for; None where the item is there already, whoever asks.

    Raises StateUnknown, TransitionUnknown, TransitionRoleDenied or GuardRefused, in this order.
    """
    if item.state == to_state:
        return None
    transition = _transition(rules, item.state, to_state)
    refusal = _refusal(item, transition, actor, now)
    if refusal is not None:
        raise refusal
    return _move(rules, transition)


def decide_approved(rules: Rules, item: Item, to_state: str, requester_id: UUID, now: datetime) -> Move:
    """The move that was asked for before, and is approved now: its guard must still hold.

    A guard about who asks was answered when they asked. Raises StateUnknown, TransitionUnknown or GuardRefused.
    """
    transition = _transition(rules, item.state, to_state)
    if not asks_caller(transition.guard) and not _passes(item, transition, Actor(requester_id, ""), now):
        raise GuardRefused(transition.guard)
    return _move(rules, transition)


def available(
    rules: Rules, item: Item, actor: Actor, now: datetime, denied: PlinthError | None = None
) -> list[Available]:
    """Where the item could go from where it is, and what would keep this actor from it.

    `denied` is what keeps them from every move, whatever the workflow says.
    """
    return [
        Available(
            rules.definition.by_id[transition.to_state],
            denied or _refusal(item, transition, actor, now),
            transition.required_approvals,
        )
        for transition in rules.definition.out_of(item.state)
    ]


def _transition(rules: Rules, from_state: str, to_state: str) -> Transition:
    if to_state not in rules.definition.by_id:
        raise StateUnknown(to_state)
    transition = rules.definition.by_ends.get((from_state, to_state))
    if transition is None:
        raise TransitionUnknown(from_state, to_state)
    return transition


def _refusal(item: Item, transition: Transition, actor: Actor, now: datetime) -> PlinthError | None:
    if not _may(item, transition, actor):
        return TransitionRoleDenied(transition.from_state, transition.to_state)
    if not _passes(item, transition, actor, now):
        return GuardRefused(transition.guard)
    return None


def _may(item: Item, transition: Transition, actor: Actor) -> bool:
    return (
        transition.open_to_all
        or actor.role in transition.roles
        or (transition.author_allowed and actor.user_id == item.author_id)
        or (transition.assignee_allowed and actor.user_id == item.assignee_id)
    )


def _passes(item: Item, transition: Transition, actor: Actor, now: datetime) -> bool:
    if not transition.guard:
        return True
    witness = Witness(USER.format(user=actor.user_id), actor.role, now)
    return holds(transition.guard, item.subject, item.facts(), witness)


def _move(rules: Rules, transition: Transition) -> Move:
    states = rules.definition.by_id
    return Move(
        states[transition.from_state], states[transition.to_state], transition.required_approvals, rules.version
    )
