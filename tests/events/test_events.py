"""What happened in a workspace, as its members read it."""

from datetime import UTC, timedelta

import grpc

from plinth.events.v1 import event_service_pb2 as events
from services.kernel.wire import timestamp
from tests.events.office import RENAMED, Office
from tests.support.errors import refused
from tests.support.waiting import until

CODE = grpc.StatusCode


class TestListEvents:
    def test_the_newest_come_first(self, office: Office) -> None:
        made = office.renamed("One", "Two", "Three")
        assert [event.name for event in office.events(types=[RENAMED])] == [event.name for event in reversed(made)]

    def test_an_event_tells_what_happened_to_what_and_who_did_it(self, office: Office) -> None:
        [event] = office.renamed("Renamed")
        assert event.type == RENAMED
        assert event.source == "//plinth/tenancy"
        assert event.subject == office.workspace
        assert event.actor == office.owner.name
        assert event.data_schema == "plinth.tenancy.v1.WorkspaceUpdated"
        assert dict(event.data) == {"workspace": office.workspace, "displayName": "Renamed"}
        assert event.traceparent

    def test_a_group_of_types_is_all_that_begins_with_it(self, office: Office) -> None:
        office.renamed("Renamed")
        kinds = {event.type for event in office.events(types=["plinth.tenancy.workspace.*"])}
        assert kinds == {"plinth.tenancy.workspace.created.v1", RENAMED}
        assert office.events(types=["plinth.tenancy.work.*"]) == []
        assert office.events(types=["plinth.tenancy.workspace"]) == []

    def test_an_underscore_stands_for_itself(self, office: Office) -> None:
        office.renamed("Renamed")
        assert office.events(types=["plinth.tenancy.workspace_updated.v1"]) == []
        assert office.events(types=["plinth_tenancy.*"]) == []

    def test_of_several_types_any_will_do(self, office: Office) -> None:
        office.renamed("Renamed")
        kinds = {event.type for event in office.events(types=[RENAMED, "plinth.tenancy.member.*"])}
        assert kinds == {RENAMED, "plinth.tenancy.member.added.v1"}

    def test_subject_and_actor_restrict(self, office: Office) -> None:
        office.renamed("Renamed")
        assert {event.subject for event in office.events(subject=office.workspace)} == {office.workspace}
        assert office.events(actor=office.owner.name)
        assert office.events(actor="users/nobody") == []

    def test_times_restrict_from_the_first_up_to_before_the_last(self, office: Office) -> None:
        first, second = office.renamed("One", "Two")
        since, until_second = first.time.ToDatetime(UTC), second.time.ToDatetime(UTC)
        found = office.events(types=[RENAMED], start_time=timestamp(since), end_time=timestamp(until_second))
        assert [event.name for event in found] == [first.name]
        later = until_second + timedelta(microseconds=1)
        assert office.events(start_time=timestamp(later)) == []

    def test_nobody_sees_another_workspaces(self, office: Office, other_office: Office) -> None:
        [theirs] = other_office.renamed("Rivals too")
        assert theirs.name not in {event.name for event in office.events()}
        hidden = theirs.name.replace(other_office.workspace, office.workspace)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            office.owner.stubs.events.GetEvent(events.GetEventRequest(name=hidden))


class TestGetEvent:
    def test_is_the_event_of_the_list(self, office: Office) -> None:
        [event] = office.renamed("Renamed")
        assert office.owner.stubs.events.GetEvent(events.GetEventRequest(name=event.name)).event == event


class TestRights:
    def test_a_viewer_reads_and_does_not_replay(self, office: Office) -> None:
        office.renamed("Renamed")
        viewer = office.people.member(office.owner, office.workspace, "viewer")
        request = events.ListEventsRequest(parent=office.workspace, types=[RENAMED])
        until(lambda: viewer.stubs.events.ListEvents(request).events, "an event that a viewer sees")
        replay = events.ReplayEventsRequest(parent=office.workspace, target="projects.activity")
        replay.since.GetCurrentTime()
        with refused(CODE.PERMISSION_DENIED, "PERMISSION_DENIED"):
            viewer.stubs.events.ReplayEvents(replay)
