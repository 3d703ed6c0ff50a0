"""The gRPC adapter of projects: convert, call, convert."""

from typing import Any

from plinth.projects.v1 import project_service_pb2 as pb
from plinth.projects.v1 import project_service_pb2_grpc
from services.projects.convert import projects as convert
from services.projects.convert.approvals import approval_to_proto
from services.projects.convert.items import available_to_proto
from services.projects.convert.workflows import workspace_in
from services.projects.service.projects import ProjectService

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class ProjectServicer(project_service_pb2_grpc.ProjectServiceServicer):
    """ProjectService."""

    def __init__(self, service: ProjectService) -> None:
        self._service = service

    def CreateProject(self, request: pb.CreateProjectRequest, context: Context) -> pb.CreateProjectResponse:
        workspace_id = workspace_in(request.parent)
        project = self._service.create(workspace_id, convert.new_project_from_proto(workspace_id, request.project))
        return pb.CreateProjectResponse(project=convert.project_to_proto(project))

    def GetProject(self, request: pb.GetProjectRequest, context: Context) -> pb.GetProjectResponse:
        project = self._service.get(*convert.project_in(request.name))
        return pb.GetProjectResponse(project=convert.project_to_proto(project))

    def ListProjects(self, request: pb.ListProjectsRequest, context: Context) -> pb.ListProjectsResponse:
        found, next_token = self._service.list_projects(
            workspace_in(request.parent),
            request.page_size,
            request.page_token,
            request.filter,
            request.order_by,
            show_deleted=request.show_deleted,
        )
        return pb.ListProjectsResponse(projects=map(convert.project_to_proto, found), next_page_token=next_token)

    def UpdateProject(self, request: pb.UpdateProjectRequest, context: Context) -> pb.UpdateProjectResponse:
        wanted = request.project
        workspace_id, project_id = convert.project_in(wanted.name)
        patch = convert.project_patch_from_proto(workspace_id, wanted, request.update_mask)
        project = self._service.update(workspace_id, project_id, wanted.etag, patch)
        return pb.UpdateProjectResponse(project=convert.project_to_proto(project))

    def DeleteProject(self, request: pb.DeleteProjectRequest, context: Context) -> pb.DeleteProjectResponse:
        project = self._service.delete(*convert.project_in(request.name), request.etag)
        return pb.DeleteProjectResponse(project=convert.project_to_proto(project))

    def UndeleteProject(self, request: pb.UndeleteProjectRequest, context: Context) -> pb.UndeleteProjectResponse:
        project = self._service.undelete(*convert.project_in(request.name), request.etag)
        return pb.UndeleteProjectResponse(project=convert.project_to_proto(project))

    def TransitionProject(self, request: pb.TransitionProjectRequest, context: Context) -> pb.TransitionProjectResponse:
        project, approval = self._service.transition(
            *convert.project_in(request.name), request.to_state, request.etag, request.comment
        )
        return pb.TransitionProjectResponse(
            project=convert.project_to_proto(project), approval=approval_to_proto(approval)
        )

    def ListAvailableTransitions(
        self, request: pb.ListAvailableTransitionsRequest, context: Context
    ) -> pb.ListAvailableTransitionsResponse:
        found = self._service.available(*convert.project_in(request.name))
        return pb.ListAvailableTransitionsResponse(
            transitions=[available_to_proto(one, pending) for one, pending in found]
        )
