"""Lists with filters: right in every combination, and compiled once for each."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest

from services.kernel.db import Scope, Session
from services.runtime import Runtime
from services.tenancy.model.audit import AuditEvent, AuditFilter
from services.tenancy.model.invites import InviteState
from services.tenancy.repository import audit, invites
from tests.tenancy.team import Team, revoke

FIELDS = ("actor", "action", "resource", "start_time", "end_time")


@pytest.fixture
def session(team: Team, runtime: Runtime) -> Iterator[Session]:
    """A session in a workspace where several things were done by several people."""
    team.new_role(team.admin, "members.read")
    revoke(team.owner, team.invite(team.admin, team.people.address()))
    team.invite(team.owner, team.people.address())
    with runtime.database.transaction(Scope("plinth_tenancy", id_of(team), team.owner.user_id)) as opened:
        yield opened


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, nothing is compiled."""

    def refuse(_: object) -> Any:
        raise AssertionError("compiled again")

    for module in (audit, invites):
        monkeypatch.setattr(module, "compiled", refuse)
    monkeypatch.setattr("services.kernel.db.compiled", refuse)


def id_of(team: Team) -> UUID:
    return UUID(team.workspace.removeprefix("workspaces/"))


def passes(event: AuditEvent, wanted: AuditFilter) -> bool:
    return (
        wanted.actor in ("", event.actor)
        and wanted.action in ("", event.action)
        and wanted.resource in ("", event.resource)
        and (wanted.start_time is None or wanted.start_time <= event.time)
        and (wanted.end_time is None or event.time < wanted.end_time)
    )


def test_audit_events_pass_every_combination_of_filters(team: Team, session: Session) -> None:
    rows = audit.AuditRepository(session)
    every = rows.list_newest(id_of(team), AuditFilter(), None, 100)
    assert len(every) >= 6
    chosen = every[1]
    values = {
        "actor": chosen.actor,
        "action": chosen.action,
        "resource": chosen.resource,
        "start_time": chosen.time,
        "end_time": chosen.time + timedelta(microseconds=1),
    }
    for count in range(1, len(FIELDS) + 1):
        for fields in combinations(FIELDS, count):
            wanted = AuditFilter(**{field: values[field] for field in fields})  # type: ignore[arg-type]  # by name
            found = rows.list_newest(id_of(team), wanted, None, 100)
            assert found == [event for event in every if passes(event, wanted)], fields
            assert chosen in found


def test_audit_list_is_compiled_once(team: Team, session: Session, request: pytest.FixtureRequest) -> None:
    rows = audit.AuditRepository(session)
    first = rows.list_newest(id_of(team), AuditFilter(actor=team.owner.name), None, 100)
    request.getfixturevalue("no_compiler")
    assert rows.list_newest(id_of(team), AuditFilter(actor=team.owner.name), None, 100) == first
    others = rows.list_newest(id_of(team), AuditFilter(actor=team.admin.name), None, 100)
    assert {event.actor for event in others} == {team.admin.name}


def test_invite_list_is_compiled_once_for_each_state(
    team: Team, session: Session, runtime: Runtime, request: pytest.FixtureRequest
) -> None:
    rows, now = invites.InviteRepository(session), runtime.clock.now()
    states: list[InviteState | None] = [None, *InviteState]
    first = {state: rows.list_newest(id_of(team), state, None, 100, now) for state in states}
    request.getfixturevalue("no_compiler")
    assert {state: rows.list_newest(id_of(team), state, None, 100, now) for state in states} == first
    assert sorted(map(len, first.values()))[-1] == len(first[None]) >= 2
    later = rows.list_newest(id_of(team), InviteState.EXPIRED, None, 100, now + timedelta(days=40))
    assert later == first[InviteState.PENDING] != []
