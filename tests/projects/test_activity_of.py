"""What an event of projects tells people: every one of them, and always the same."""

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from google.protobuf.message import Message

from plinth.projects.v1 import activity_pb2, approval_pb2, events_pb2
from plinth.tenancy.v1 import events_pb2 as tenancy_pb2
from services.kernel.events import Event
from services.kernel.outbox import event_type
from services.projects.convert.activity import EVENT_TYPES, activity_of, activity_to_proto, is_activity, shown_as_json
from services.projects.model.changes import FieldChange

WORKSPACE, PROJECT = UUID(int=1), UUID(int=2)
PROJECT_NAME = f"workspaces/{WORKSPACE}/projects/{PROJECT}"
TASK_NAME = f"{PROJECT_NAME}/tasks/{UUID(int=3)}"
APPROVAL_NAME = f"workspaces/{WORKSPACE}/approvals/{UUID(int=4)}"
WORKFLOW_NAME = f"workspaces/{WORKSPACE}/workflows/{UUID(int=5)}"
USER = f"users/{UUID(int=6)}"
NAMED = [FieldChange("display_name", "", "Apollo")]
MOVED = [FieldChange("state", "todo", "done")]
CHANGE = activity_pb2.FieldChange(field="labels", old_value="red", new_value="red, green")
CHANGED = [FieldChange("labels", "red", "red, green")]


def event_of(message: Message, subject: str) -> Event:
    return Event(
        position=17,
        id=UUID(int=7),
        workspace_id=WORKSPACE,
        type=event_type(message.DESCRIPTOR),
        source="//plinth/projects",
        subject=subject,
        time=datetime(2026, 3, 1, tzinfo=UTC),
        data_schema=message.DESCRIPTOR.full_name,
        data=message.SerializeToString(),
        actor=USER,
        traceparent="",
    )


E = events_pb2
EVENTS: list[tuple[Message, str, str, list[FieldChange], str]] = [
    (E.WorkflowCreated(workflow=WORKFLOW_NAME, display_name="Apollo"), WORKFLOW_NAME, "created", NAMED, ""),
    (E.WorkflowUpdated(workflow=WORKFLOW_NAME, changes=[CHANGE]), WORKFLOW_NAME, "updated", CHANGED, ""),
    (
        E.WorkflowDeleted(workflow=WORKFLOW_NAME, display_name="Apollo"),
        WORKFLOW_NAME,
        "deleted",
        [FieldChange("display_name", "Apollo", "")],
        "",
    ),
    (
        E.ProjectCreated(project=PROJECT_NAME, display_name="Apollo", state="todo", assignee=USER),
        PROJECT_NAME,
        "created",
        [*NAMED, FieldChange("state", "", "todo"), FieldChange("assignee", "", USER)],
        "",
    ),
    (E.ProjectUpdated(project=PROJECT_NAME, changes=[CHANGE]), PROJECT_NAME, "updated", CHANGED, ""),
    (
        E.ProjectTransitioned(project=PROJECT_NAME, from_state="todo", to_state="done", comment="why"),
        PROJECT_NAME,
        "transitioned",
        MOVED,
        "why",
    ),
    (
        E.ProjectDeleted(project=PROJECT_NAME, display_name="Apollo"),
        PROJECT_NAME,
        "deleted",
        [FieldChange("display_name", "Apollo", "")],
        "",
    ),
    (E.ProjectUndeleted(project=PROJECT_NAME, display_name="Apollo"), PROJECT_NAME, "undeleted", NAMED, ""),
    (E.ProjectPurged(project=PROJECT_NAME), PROJECT_NAME, "purged", [], ""),
    (
        E.TaskCreated(task=TASK_NAME, display_name="Apollo", state="todo"),
        TASK_NAME,
        "created",
        [*NAMED, FieldChange("state", "", "todo")],
        "",
    ),
    (E.TaskUpdated(task=TASK_NAME, changes=[CHANGE]), TASK_NAME, "updated", CHANGED, ""),
    (
        E.TaskMoved(task=TASK_NAME, old_position="a0", new_position="a1"),
        TASK_NAME,
        "moved",
        [FieldChange("position", "a0", "a1")],
        "",
    ),
    (
        E.TaskTransitioned(task=TASK_NAME, from_state="todo", to_state="done", comment="why"),
        TASK_NAME,
        "transitioned",
        MOVED,
        "why",
    ),
    (
        E.ProjectTransitioned(project=PROJECT_NAME, from_state="todo", to_state="done", migrated=True),
        PROJECT_NAME,
        "migrated",
        MOVED,
        "",
    ),
    (
        E.TaskTransitioned(task=TASK_NAME, from_state="todo", to_state="done", migrated=True),
        TASK_NAME,
        "migrated",
        MOVED,
        "",
    ),
    (
        E.TaskDeleted(task=TASK_NAME, display_name="Apollo"),
        TASK_NAME,
        "deleted",
        [FieldChange("display_name", "Apollo", "")],
        "",
    ),
    (
        E.ApprovalRequested(
            approval=APPROVAL_NAME, target=TASK_NAME, from_state="todo", to_state="done", comment="why"
        ),
        APPROVAL_NAME,
        "requested",
        MOVED,
        "why",
    ),
    (
        E.ApprovalDecided(
            approval=APPROVAL_NAME,
            target=PROJECT_NAME,
            decision=approval_pb2.DECISION_REJECT,
            comment="no",
            state=approval_pb2.Approval.STATE_REJECTED,
        ),
        APPROVAL_NAME,
        "decided",
        [FieldChange("decision", "", "DECISION_REJECT"), FieldChange("state", "", "STATE_REJECTED")],
        "no",
    ),
    (E.ApprovalSuperseded(approval=APPROVAL_NAME, target=PROJECT_NAME), APPROVAL_NAME, "superseded", [], ""),
    (E.ApprovalExpired(approval=APPROVAL_NAME, target=TASK_NAME), APPROVAL_NAME, "expired", [], ""),
]
IDS = [message.DESCRIPTOR.name for message, *_ in EVENTS]


def test_there_is_one_for_every_event_of_the_contract() -> None:
    assert set(IDS) == set(events_pb2.DESCRIPTOR.message_types_by_name)
    assert {event_type(message.DESCRIPTOR) for message, *_ in EVENTS} == EVENT_TYPES


@pytest.mark.parametrize(("message", "subject", "verb", "changes", "comment"), EVENTS, ids=IDS)
def test_says_what_was_done_by_whom_and_why(
    message: Message, subject: str, verb: str, changes: list[FieldChange], comment: str
) -> None:
    done = activity_of(event_of(message, subject))
    assert (done.verb, done.resource, done.actor, done.comment) == (verb, subject, USER, comment)
    assert list(done.changes) == changes
    assert done.project_id == (None if subject == WORKFLOW_NAME else PROJECT)
    assert activity_of(event_of(message, subject)) == done


class TestShown:
    def test_the_cursor_is_the_position_and_the_name_the_events_id(self) -> None:
        message, subject, *_ = EVENTS[5]
        told = activity_to_proto(activity_of(event_of(message, subject)))
        assert (told.cursor, told.name) == ("17", f"workspaces/{WORKSPACE}/activity/{UUID(int=7)}")
        assert told.project == PROJECT_NAME

    def test_a_stream_of_one_project_passes_over_the_others(self) -> None:
        message, subject, *_ = EVENTS[5]
        event = event_of(message, subject)
        assert is_activity(event, None)
        assert is_activity(event, PROJECT)
        assert not is_activity(event, UUID(int=99))

    def test_a_stream_passes_over_what_other_domains_did(self) -> None:
        renamed = tenancy_pb2.WorkspaceUpdated(workspace=f"workspaces/{WORKSPACE}")
        assert not is_activity(event_of(renamed, renamed.workspace), None)
        assert not is_activity(event_of(renamed, renamed.workspace), PROJECT)

    def test_json_is_one_line_as_rest_shows_it(self) -> None:
        message, subject, *_ = EVENTS[5]
        text = shown_as_json(event_of(message, subject))
        assert "\n" not in text
        assert '"oldValue": "todo"' in text

    @pytest.mark.parametrize("event", [event_of(message, subject) for message, subject, *_ in EVENTS], ids=IDS)
    def test_json_has_every_field(self, event: Event) -> None:
        shown = orjson.loads(shown_as_json(event))
        assert set(shown) == set(activity_pb2.Activity.DESCRIPTOR.fields_by_camelcase_name)
        for change in shown["changes"]:
            assert set(change) == {"field", "oldValue", "newValue"}

    def test_an_event_without_a_workspace_is_none_of_ours(self) -> None:
        message, subject, *_ = EVENTS[5]
        event = event_of(message, subject)
        with pytest.raises(ValueError, match="belongs to a workspace"):
            activity_of(Event(**{name: getattr(event, name) for name in Event.__slots__} | {"workspace_id": None}))
