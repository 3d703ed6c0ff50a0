"""Between tasks and their protobuf messages."""

from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from plinth.projects.v1 import task_pb2
from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.etags import etag_of
from services.kernel.names import USER
from services.kernel.wire import in_mask, masked_text, optional_time, timestamp
from services.projects.convert.projects import user_in, user_to_proto, workflow_id_in
from services.projects.convert.workflows import category_to_proto
from services.projects.model.changes import To
from services.projects.model.names import TASK
from services.projects.model.tasks import NewTask, Task, TaskPatch


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
    return task_pb2.Task(
        name=task.name,
        display_name=task.display_name,
        description=task.description,
        workflow=task.workflow_name,
        state=task.state,
        state_category=category_to_proto(task.state_category),
        author=USER.format(user=task.author_id),
        assignee=user_to_proto(task.assignee_id),
        labels=task.labels,
        due_time=timestamp(task.due_time),
        position=task.position,
        etag=etag_of(task.version),
        create_time=timestamp(task.create_time),
        update_time=timestamp(task.update_time),
    )


def new_task_from_proto(workspace_id: UUID, task: task_pb2.Task) -> NewTask:
    """What to create. Raises FieldsInvalid, or ResourceNotFound for another workspace's workflow."""
    return NewTask(
        display_name=task.display_name,
        description=task.description,
        workflow_id=workflow_id_in(workspace_id, task.workflow, field="task.workflow"),
        assignee_id=user_in(task.assignee, field="task.assignee"),
        labels=tuple(task.labels),
        due_time=optional_time(task, "due_time", inside="task."),
    )


def task_patch_from_proto(workspace_id: UUID, task: task_pb2.Task, mask: FieldMask) -> TaskPatch:
    """What to change of a task. Raises FieldsInvalid, or ResourceNotFound for another workspace's workflow."""
    due_time = optional_time(task, "due_time", inside="task.")
    assignee_id = user_in(task.assignee, field="task.assignee")
    return TaskPatch(
        workflow_id=workflow_id_in(workspace_id, task.workflow, field="task.workflow"),
        display_name=masked_text(task, mask, "display_name"),
        description=masked_text(task, mask, "description"),
        assignee_id=To(assignee_id) if in_mask(mask, "assignee", populated=assignee_id is not None) else None,
        labels=tuple(task.labels) if in_mask(mask, "labels", populated=bool(task.labels)) else None,
        due_time=To(due_time) if in_mask(mask, "due_time", populated=due_time is not None) else None,
    )
