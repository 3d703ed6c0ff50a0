"""Between activity and protobuf, and what an event of the domain tells of."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from uuid import UUID

from google.protobuf.message import Message

from plinth.projects.v1 import activity_pb2, approval_pb2, events_pb2
from plinth.projects.v1 import activity_service_pb2 as pb
from services.kernel import sse_stream
from services.kernel.errors import NameInvalid
from services.kernel.events import Event
from services.kernel.names import WORKSPACE
from services.kernel.outbox import event_type
from services.kernel.wire import timestamp
from services.projects.model.activity import Activity
from services.projects.model.changes import FieldChange
from services.projects.model.names import PROJECT, TASK

EVENT_TYPES = frozenset(event_type(message) for message in events_pb2.DESCRIPTOR.message_types_by_name.values())
# What became of that which was in a state that its workflow no longer has.
_MIGRATED = "migrated"


@dataclass(frozen=True, slots=True)
class _Deed:
    """What an event says of its own: the project or task that it is about, if any, what changed, and why.

    `verb` says what was done where the event's type does not.
    """

    of: str
    changes: tuple[FieldChange, ...] = ()
    comment: str = ""
    verb: str = ""


def activity_of(event: Event) -> Activity:
    """What an event of EVENT_TYPES tells of: the same, whoever asks and whenever."""
    if event.workspace_id is None:
        raise ValueError("an event of projects belongs to a workspace")
    deed = _deed(event.message())
    return Activity(
        workspace_id=event.workspace_id,
        position=event.position,
        event_id=event.id,
        project_id=_project_in(deed.of),
        time=event.time,
        verb=deed.verb or event.type.split(".")[3],
        resource=event.subject,
        actor=event.actor,
        changes=deed.changes,
        comment=deed.comment,
    )


def _deed(message: Message) -> _Deed:
    match message:
        case events_pb2.WorkflowCreated():
            return _Deed("", _set(display_name=message.display_name))
        case events_pb2.WorkflowUpdated():
            return _Deed("", _as_told(message.changes))
        case events_pb2.WorkflowDeleted():
            return _Deed("", _unset(display_name=message.display_name))
        case events_pb2.ProjectCreated():
            return _Deed(message.project, _created(message))
        case events_pb2.ProjectUpdated():
            return _Deed(message.project, _as_told(message.changes))
        case events_pb2.ProjectTransitioned(migrated=True):
            return _Deed(message.project, _moved(message), verb=_MIGRATED)
        case events_pb2.ProjectTransitioned():
            return _Deed(message.project, _moved(message), message.comment)
        case events_pb2.ProjectDeleted():
            return _Deed(message.project, _unset(display_name=message.display_name))
        case events_pb2.ProjectUndeleted():
            return _Deed(message.project, _set(display_name=message.display_name))
        case events_pb2.ProjectPurged():
            return _Deed(message.project)
        case events_pb2.TaskCreated():
            return _Deed(message.task, _created(message))
        case events_pb2.TaskUpdated():
            return _Deed(message.task, _as_told(message.changes))
        case events_pb2.TaskMoved():
            return _Deed(message.task, (FieldChange("position", message.old_position, message.new_position),))
        case events_pb2.TaskTransitioned(migrated=True):
            return _Deed(message.task, _moved(message), verb=_MIGRATED)
        case events_pb2.TaskTransitioned():
            return _Deed(message.task, _moved(message), message.comment)
        case events_pb2.TaskDeleted():
            return _Deed(message.task, _unset(display_name=message.display_name))
        case events_pb2.ApprovalRequested():
            return _Deed(message.target, _moved(message), message.comment)
        case events_pb2.ApprovalDecided():
            decision = approval_pb2.Decision.Name(message.decision)
            state = approval_pb2.Approval.State.Name(message.state)
            return _Deed(message.target, _set(decision=decision, state=state), message.comment)
        case events_pb2.ApprovalSuperseded() | events_pb2.ApprovalExpired():
            return _Deed(message.target)
        case _:
            raise ValueError(f"{message.DESCRIPTOR.full_name} is no event of projects")


def _created(message: events_pb2.ProjectCreated | events_pb2.TaskCreated) -> tuple[FieldChange, ...]:
    return _set(display_name=message.display_name, state=message.state, assignee=message.assignee)


def _moved(
    message: events_pb2.ProjectTransitioned | events_pb2.TaskTransitioned | events_pb2.ApprovalRequested,
) -> tuple[FieldChange, ...]:
    return (FieldChange("state", message.from_state, message.to_state),)


def _as_told(changes: Iterable[activity_pb2.FieldChange]) -> tuple[FieldChange, ...]:
    return tuple(FieldChange(change.field, change.old_value, change.new_value) for change in changes)


def _set(**values: str) -> tuple[FieldChange, ...]:
    return tuple(FieldChange(field, "", value) for field, value in values.items() if value)


def _unset(**values: str) -> tuple[FieldChange, ...]:
    return tuple(FieldChange(field, value, "") for field, value in values.items() if value)


def _project_in(name: str) -> UUID | None:
    """The id of the project that is, or holds, what has this name."""
    if not name:
        return None
    try:
        return PROJECT.ids(name)[1]
    except NameInvalid:
        return TASK.ids(name)[1]


def parent_in(name: str) -> tuple[UUID, UUID | None]:
    """The workspace whose activity is asked for, and the project in it, if it is that of one. Raises NameInvalid."""
    try:
        workspace_id, project_id = PROJECT.ids(name, field="parent")
    except NameInvalid:
        return WORKSPACE.ids(name, field="parent")[0], None
    return workspace_id, project_id


def activity_to_proto(activity: Activity) -> activity_pb2.Activity:
    """As the contract has it; the position is its cursor."""
    return activity_pb2.Activity(
        name=activity.name,
        time=timestamp(activity.time),
        verb=activity.verb,
        resource=activity.resource,
        project=activity.project,
        actor=activity.actor,
        changes=[
            activity_pb2.FieldChange(field=change.field, old_value=change.old_value, new_value=change.new_value)
            for change in activity.changes
        ],
        comment=activity.comment,
        cursor=str(activity.position),
    )


def is_activity(event: Event, project_id: UUID | None) -> bool:
    """Whether the event tells of something that was done in the project; without one, anywhere in its workspace."""
    return event.type in EVENT_TYPES and (project_id is None or _told(event).project_id == project_id)


def shown(event: Event) -> activity_pb2.Activity:
    """What an event of EVENT_TYPES tells a stream."""
    return _told(event).message


def shown_as_json(event: Event) -> str:
    """The same as one line of JSON, as REST shows it."""
    return _told(event).json


def watch_response(cursor: str, activity: activity_pb2.Activity | None = None) -> pb.WatchActivityResponse:
    """A message of the stream: something that was done, or how far the stream is."""
    return pb.WatchActivityResponse(activity=activity, cursor=cursor)


class _Told:
    """What streams tell of one event."""

    def __init__(self, activity: Activity) -> None:
        self.project_id = activity.project_id
        self.message = activity_to_proto(activity)

    @cached_property
    def json(self) -> str:
        return sse_stream.as_json(self.message)


# A thousand streams tell of the same event within a moment, and a page of the past is looked through before it is told.
@lru_cache(maxsize=1_000)
def _told(event: Event) -> _Told:
    return _Told(activity_of(event))
