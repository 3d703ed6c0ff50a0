"""Guards of transitions: CEL expressions (cel.dev) over the project or task, the caller and the time.

A guard is compiled once and kept. Whoever may write workflows may write guards, so what one can cost is bounded: by its
length, and by how many comprehensions it has.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import cel

# Each walks a list, the inner once for every item of the outer: three could keep a core busy for a second.
MAX_COMPREHENSIONS = 2
_COMPREHENSION = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*(\w+)")
_CALLER, _NOW = "caller", "now"
# A guard is tried on this before it is accepted: everything is set.
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_USER = "users/01992f00-0000-7000-8000-000000000000"
_EXAMPLE: dict[str, object] = {
    "display_name": "Example",
    "description": "An example.",
    "state": "example",
    "category": "started",
    "author": _USER,
    "assignee": _USER,
    "labels": ["example"],
    "due_time": _MOMENT,
    "create_time": _MOMENT,
    "update_time": _MOMENT,
}
# What an evaluation that cannot be told raises: a missing key, an index out of bounds, operands that do not fit, …
_UNTOLD = (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Witness:
    """Who asks for a move, and when: `user` is a name like `users/…`, `role` the id of a role."""

    user: str
    role: str
    now: datetime


def problem_of(guard: str, subject: str) -> str | None:
    """Why a guard for a `project` or `task` is refused, for people; None for one that can be used."""
    bound = _COMPREHENSION.findall(guard)
    if len(bound) > MAX_COMPREHENSIONS:
        return f"has more than {MAX_COMPREHENSIONS} comprehensions"
    try:
        program = _compiled(guard)
    except ValueError as error:
        return f"is no CEL expression: {_first_line(error)}"
    unknown = set(program.variables()) - {subject, _CALLER, _NOW, *bound}
    if unknown:
        return f"knows {subject}, {_CALLER} and {_NOW}, and not {min(unknown)}"
    try:
        value = program.execute(_scope(subject, _EXAMPLE, Witness(_USER, "member", _MOMENT)))
    except _UNTOLD as error:
        return f"cannot be told of an example: {_first_line(error)}"
    return None if isinstance(value, bool) else "must be true or false"


def holds(guard: str, subject: str, facts: Mapping[str, object], witness: Witness) -> bool:
    """Whether a guard is true; False too where it cannot be told, e.g. of a date that is not set."""
    try:
        return _compiled(guard).execute(_scope(subject, facts, witness)) is True
    except _UNTOLD:
        return False


def asks_caller(guard: str) -> bool:
    """Whether a guard is about who asks."""
    return bool(guard) and _CALLER in _compiled(guard).variables()


@lru_cache(maxsize=4096)
def _compiled(guard: str) -> cel.Program:
    return cel.compile(guard)


def _scope(subject: str, facts: Mapping[str, object], witness: Witness) -> dict[str, object]:
    return {subject: dict(facts), _CALLER: {"user": witness.user, "role": witness.role}, _NOW: witness.now}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
