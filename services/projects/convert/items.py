"""Between what projects and tasks have in common and their protobuf messages."""

from typing import TypeVar
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from plinth.projects.v1 import project_pb2, task_pb2
from services.kernel.errors import ResourceNotFound
from services.kernel.etags import etag_of
from services.kernel.names import USER
from services.kernel.wire import in_mask, masked_text, optional_time, timestamp
from services.projects.convert.workflows import category_to_proto, workflow_in
from services.projects.model.changes import To
from services.projects.model.engine import Available
from services.projects.model.items import Item, ItemPatch, NewItem

Message = TypeVar("Message", project_pb2.Project, task_pb2.Task)


def item_to_proto(item: Item, kind: type[Message]) -> Message:
    """The fields that both have, in a message of this kind."""
    return kind(
        name=item.name,
        display_name=item.display_name,
        description=item.description,
        workflow=item.workflow_name,
        state=item.state,
        state_category=category_to_proto(item.state_category),
        author=USER.format(user=item.author_id),
        assignee=USER.format(user=item.assignee_id) if item.assignee_id is not None else "",
        labels=item.labels,
        due_time=timestamp(item.due_time),
        etag=etag_of(item.version),
        create_time=timestamp(item.create_time),
        update_time=timestamp(item.update_time),
    )


def new_item_from_proto(workspace_id: UUID, item: project_pb2.Project | task_pb2.Task, *, field: str) -> NewItem:
    """What to create, out of the request's `field`.

    Raises FieldsInvalid, or ResourceNotFound for another workspace's workflow.
    """
    return NewItem(
        display_name=item.display_name,
        description=item.description,
        workflow_id=_workflow_in(workspace_id, item.workflow, field=f"{field}.workflow"),
        assignee_id=_user_in(item.assignee, field=f"{field}.assignee"),
        labels=tuple(item.labels),
        due_time=optional_time(item, "due_time", inside=f"{field}."),
    )


def item_patch_from_proto(
    workspace_id: UUID, item: project_pb2.Project | task_pb2.Task, mask: FieldMask, *, field: str
) -> ItemPatch:
    """What to change. Raises as `new_item_from_proto`."""
    new = new_item_from_proto(workspace_id, item, field=field)
    return ItemPatch(
        workflow_id=new.workflow_id,
        display_name=masked_text(item, mask, "display_name"),
        description=masked_text(item, mask, "description"),
        assignee_id=To(new.assignee_id) if in_mask(mask, "assignee", populated=new.assignee_id is not None) else None,
        labels=new.labels if in_mask(mask, "labels", populated=bool(new.labels)) else None,
        due_time=To(new.due_time) if in_mask(mask, "due_time", populated=new.due_time is not None) else None,
    )


def available_to_proto(available: Available, pending_approval: str) -> project_pb2.AvailableTransition:
    """A state that an item could go to."""
    return project_pb2.AvailableTransition(
        to_state=available.to_state.state_id,
        display_name=available.to_state.display_name,
        state_category=category_to_proto(available.to_state.category),
        allowed=available.refusal is None,
        reason=available.refusal.reason if available.refusal is not None else "",
        explanation=available.refusal.message if available.refusal is not None else "",
        required_approvals=available.required_approvals,
        pending_approval=pending_approval,
    )


def _workflow_in(workspace_id: UUID, name: str, *, field: str) -> UUID | None:
    if not name:
        return None
    there, workflow_id = workflow_in(name, field=field)
    if there != workspace_id:
        raise ResourceNotFound(name)
    return workflow_id


def _user_in(name: str, *, field: str) -> UUID | None:
    return USER.ids(name, field=field)[0] if name else None
