"""Between projects and their protobuf messages."""

from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from plinth.projects.v1 import project_pb2
from services.kernel.errors import ResourceNotFound
from services.kernel.etags import etag_of
from services.kernel.names import USER
from services.kernel.wire import in_mask, masked_text, optional_time, timestamp
from services.projects.convert.workflows import category_to_proto, workflow_in
from services.projects.model.changes import To
from services.projects.model.engine import Available
from services.projects.model.names import PROJECT
from services.projects.model.projects import NewProject, Project, ProjectPatch


def project_in(name: str, *, field: str = "name") -> tuple[UUID, UUID]:
    """The workspace and the id of a project's name. Raises NameInvalid, which blames `field`."""
    workspace_id, project_id = PROJECT.ids(name, field=field)
    return workspace_id, project_id


def project_to_proto(project: Project) -> project_pb2.Project:
    """A project."""
    return project_pb2.Project(
        name=project.name,
        display_name=project.display_name,
        description=project.description,
        workflow=project.workflow_name,
        state=project.state,
        state_category=category_to_proto(project.state_category),
        author=USER.format(user=project.author_id),
        assignee=user_to_proto(project.assignee_id),
        labels=project.labels,
        due_time=timestamp(project.due_time),
        etag=etag_of(project.version),
        create_time=timestamp(project.create_time),
        update_time=timestamp(project.update_time),
        delete_time=timestamp(project.delete_time),
        purge_time=timestamp(project.purge_time),
    )


def new_project_from_proto(workspace_id: UUID, project: project_pb2.Project) -> NewProject:
    """What to create. Raises FieldsInvalid, or ResourceNotFound for another workspace's workflow."""
    return NewProject(
        display_name=project.display_name,
        description=project.description,
        workflow_id=workflow_id_in(workspace_id, project.workflow, field="project.workflow"),
        assignee_id=user_in(project.assignee, field="project.assignee"),
        labels=tuple(project.labels),
        due_time=optional_time(project, "due_time", inside="project."),
    )


def project_patch_from_proto(workspace_id: UUID, project: project_pb2.Project, mask: FieldMask) -> ProjectPatch:
    """What to change of a project. Raises FieldsInvalid, or ResourceNotFound for another workspace's workflow."""
    due_time = optional_time(project, "due_time", inside="project.")
    assignee_id = user_in(project.assignee, field="project.assignee")
    return ProjectPatch(
        workflow_id=workflow_id_in(workspace_id, project.workflow, field="project.workflow"),
        display_name=masked_text(project, mask, "display_name"),
        description=masked_text(project, mask, "description"),
        assignee_id=To(assignee_id) if in_mask(mask, "assignee", populated=assignee_id is not None) else None,
        labels=tuple(project.labels) if in_mask(mask, "labels", populated=bool(project.labels)) else None,
        due_time=To(due_time) if in_mask(mask, "due_time", populated=due_time is not None) else None,
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


def workflow_id_in(workspace_id: UUID, name: str, *, field: str) -> UUID | None:
    """The workflow of this workspace that is named; None where none is. Raises ResourceNotFound for another's."""
    if not name:
        return None
    there, workflow_id = workflow_in(name, field=field)
    if there != workspace_id:
        raise ResourceNotFound(name)
    return workflow_id


def user_in(name: str, *, field: str) -> UUID | None:
    """The user who is named; None where nobody is. Raises NameInvalid."""
    return USER.ids(name, field=field)[0] if name else None


def user_to_proto(user_id: UUID | None) -> str:
    """The name of a user; empty for nobody."""
    return USER.format(user=user_id) if user_id is not None else ""
