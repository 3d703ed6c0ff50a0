"""Between tasks and their protobuf messages."""

from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from plinth.projects.v1 import task_pb2
from services.kernel.errors import FieldsInvalid, FieldViolation
from services.projects.convert.items import item_patch_from_proto, item_to_proto, new_item_from_proto
from services.projects.model.items import ItemPatch, NewItem
from services.projects.model.names import TASK
from services.projects.model.tasks import Task


def task_in(name: str, *, field: str = "name") -> tuple[UUID, UUID, UUID]:
    """The workspace, the project and the id of a task's name. Raises NameInvalid, which blames `field`."""
    workspace_id, project_id, task_id = TASK.ids(name, field=field)
    return workspace_id, project_id, task_id


def sibling_in(name: str, task: str, *, field: str) -> UUID | None:
    """The task that is named, of the project of `task`; None where none is. Raises NameInvalid or FieldsInvalid."""
    if not name:
        return None
    *project, sibling_id = task_in(name, field=field)
    if project != [*task_in(task)[:2]]:
        raise FieldsInvalid(FieldViolation(field, "is a task of another project"))
    return sibling_id


def task_to_proto(task: Task) -> task_pb2.Task:
    """A task."""
    message = item_to_proto(task, task_pb2.Task)
    message.position = task.position
    return message


def new_task_from_proto(workspace_id: UUID, task: task_pb2.Task) -> NewItem:
    """What to create. Raises FieldsInvalid, or ResourceNotFound for another workspace's workflow."""
    return new_item_from_proto(workspace_id, task, field="task")


def task_patch_from_proto(workspace_id: UUID, task: task_pb2.Task, mask: FieldMask) -> ItemPatch:
    """What to change of a task. Raises FieldsInvalid, or ResourceNotFound for another workspace's workflow."""
    return item_patch_from_proto(workspace_id, task, mask, field="task")
