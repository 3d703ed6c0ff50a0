"""Between projects and their protobuf messages."""

from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from plinth.projects.v1 import project_pb2
from services.projects.convert.items import item_patch_from_proto, item_to_proto, new_item_from_proto
from services.projects.model.items import ItemPatch, NewItem
from services.projects.model.names import PROJECT
from services.projects.model.projects import Project


def project_in(name: str, *, field: str = "name") -> tuple[UUID, UUID]:
    """The workspace and the id of a project's name. Raises NameInvalid, which blames `field`."""
    workspace_id, project_id = PROJECT.ids(name, field=field)
    return workspace_id, project_id


def project_to_proto(project: Project) -> project_pb2.Project:
    """A project."""
    message = item_to_proto(project, project_pb2.Project)
    if project.delete_time is not None and project.purge_time is not None:
        message.delete_time.FromDatetime(project.delete_time)
        message.purge_time.FromDatetime(project.purge_time)
    return message


def new_project_from_proto(workspace_id: UUID, project: project_pb2.Project) -> NewItem:
    """What to create. Raises FieldsInvalid, or ResourceNotFound for another workspace's workflow."""
    return new_item_from_proto(workspace_id, project, field="project")


def project_patch_from_proto(workspace_id: UUID, project: project_pb2.Project, mask: FieldMask) -> ItemPatch:
    """What to change of a project. Raises FieldsInvalid, or ResourceNotFound for another workspace's workflow."""
    return item_patch_from_proto(workspace_id, project, mask, field="project")
