"""The audit log of a workspace."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import orjson
import pytest

from plinth.tenancy.v1 import audit_event_pb2, events_pb2
from plinth.tenancy.v1 import audit_service_pb2 as audit
from services.kernel.caller import Caller
from services.kernel.ids import new_id
from services.kernel.unit_of_work import Units
from services.runtime import Runtime
from services.tenancy.service import audit as audit_use_cases
from tests.support.acting import acting
from tests.support.errors import refused
from tests.support.people import Person
from tests.tenancy.team import Team

CODE = grpc.StatusCode


def listed(team: Team, page_size: int = 500, **wanted: Any) -> list[audit_event_pb2.AuditEvent]:
    events: list[audit_event_pb2.AuditEvent] = []
    token = ""
    while True:
        request = audit.ListAuditEventsRequest(parent=team.workspace, page_size=page_size, page_token=token, **wanted)
        answer = team.owner.stubs.audit.ListAuditEvents(request)
        events += answer.audit_events
        token = answer.next_page_token
        if not token:
            return events


def exported(person: Person, team: Team, resource: str) -> bytes:
    request = audit.ExportAuditEventsRequest(parent=team.workspace, resource=resource)
    return b"".join(body.data for body in person.stubs.audit.ExportAuditEvents(request))


class TestList:
    def test_tells_who_did_what_to_what_and_from_where(self, team: Team) -> None:
        team.invite(team.admin, team.people.address(), "viewer")
        event = listed(team)[0]
        assert event.action == "plinth.tenancy.invite.created.v1"
        assert event.actor_type == audit_event_pb2.AuditEvent.ACTOR_TYPE_USER
        assert (event.actor, event.user) == (team.admin.name, team.admin.name)
        assert event.resource == team.invites()[0].name
        assert event.detail["role"] == team.role("viewer")
        assert event.source
        assert event.request_id

    def test_pages_newest_first_to_the_end(self, team: Team) -> None:
        for role in (team.admin, team.member, team.viewer):
            team.get(role)
        everything = listed(team)
        assert len(everything) == 11
        assert [event.time.ToDatetime(UTC) for event in everything] == sorted(
            (event.time.ToDatetime(UTC) for event in everything), reverse=True
        )
        assert listed(team, 3) == everything

    def test_filters_by_actor_action_and_resource(self, team: Team) -> None:
        member = team.member
        assert [event.action for event in listed(team, actor=member.name)] == [
            "plinth.tenancy.invite.accepted.v1",
            "plinth.tenancy.member.added.v1",
        ]
        action = "plinth.tenancy.member.added.v1"
        assert {event.action for event in listed(team, action=action)} == {action}
        assert len(listed(team, action=action, resource=team.name_of(member))) == 1
        assert listed(team, actor=member.name, resource=team.workspace) == []

    def test_filters_by_time(self, team: Team) -> None:
        start = listed(team)[-1].time.ToDatetime(UTC)
        assert len(listed(team, start_time=start, end_time=start + timedelta(seconds=60))) == 2
        assert listed(team, end_time=start) == []
        assert listed(team, start_time=datetime.now(UTC) + timedelta(days=1)) == []

    def test_time_range_must_go_forward(self, team: Team) -> None:
        now = datetime.now(UTC)
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
            listed(team, start_time=now, end_time=now)

    def test_page_token_is_bound_to_the_filter(self, team: Team) -> None:
        request = audit.ListAuditEventsRequest(parent=team.workspace, page_size=1)
        token = team.owner.stubs.audit.ListAuditEvents(request).next_page_token
        with refused(CODE.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID"):
            team.owner.stubs.audit.ListAuditEvents(
                audit.ListAuditEventsRequest(parent=team.workspace, page_token=token, actor=team.owner.name)
            )

    def test_is_for_admins(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            team.member.stubs.audit.ListAuditEvents(audit.ListAuditEventsRequest(parent=team.workspace))

    def test_other_workspaces_stay_out_of_sight(self, team: Team, other_team: Team) -> None:
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.owner.stubs.audit.ListAuditEvents(audit.ListAuditEventsRequest(parent=other_team.workspace))
        assert {event.name.rpartition("/auditEvents")[0] for event in listed(team)} == {team.workspace}


class TestRestricted:
    @pytest.fixture
    def secret(self, team: Team, runtime: Runtime) -> str:
        """The name of something that not everyone in the workspace may see, and that somebody has changed."""
        name = f"{team.workspace}/documents/{new_id()}"
        workspace_id = UUID(team.workspace.removeprefix("workspaces/"))
        units = Units(runtime.resources, "tenancy", lambda _: None)
        with acting(Caller(user_id=team.owner.user_id, workspace_id=workspace_id)), units() as uow:
            uow.emit(name, events_pb2.WorkspaceUpdated(display_name="Merger"), restricted=True)
            uow.commit()
        return name

    def test_an_owner_reads_what_it_holds(self, team: Team, secret: str) -> None:
        [event] = listed(team, resource=secret)
        assert dict(event.detail) == {"displayName": "Merger"}
        assert b"Merger" in exported(team.owner, team, secret)

    def test_another_reader_learns_who_did_what_to_what_and_no_more(self, team: Team, secret: str) -> None:
        request = audit.ListAuditEventsRequest(parent=team.workspace, resource=secret)
        [event] = team.admin.stubs.audit.ListAuditEvents(request).audit_events
        assert (event.action, event.actor) == ("plinth.tenancy.workspace.updated.v1", team.owner.name)
        assert dict(event.detail) == {}
        assert b"Merger" not in exported(team.admin, team, secret)
        # Of what is not restricted they read everything.
        request.resource = team.name_of(team.admin)
        assert team.admin.stubs.audit.ListAuditEvents(request).audit_events[0].detail["role"] == team.role("admin")


class TestExport:
    def test_streams_all_as_json_lines(self, team: Team, monkeypatch: pytest.MonkeyPatch, apart: object) -> None:
        monkeypatch.setattr(audit_use_cases, "_CHUNK", 2)
        team.get(team.member)
        request = audit.ExportAuditEventsRequest(parent=team.workspace)
        bodies = list(team.owner.stubs.audit.ExportAuditEvents(request))
        assert {body.content_type for body in bodies} == {"application/x-ndjson"}
        # The small chunk is this process's; servers apart have their own.
        assert apart or len(bodies) > 1
        lines = b"".join(body.data for body in bodies).splitlines()
        assert [orjson.loads(line)["name"] for line in lines] == [event.name for event in listed(team)]

    def test_of_nothing_is_an_empty_answer(self, team: Team) -> None:
        request = audit.ExportAuditEventsRequest(parent=team.workspace, actor="users/nobody")
        assert [body.data for body in team.owner.stubs.audit.ExportAuditEvents(request)] == [b""]

    def test_is_for_admins(self, team: Team) -> None:
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            list(team.member.stubs.audit.ExportAuditEvents(audit.ExportAuditEventsRequest(parent=team.workspace)))
