"""The gRPC adapter of workflows: convert, call, convert."""

from typing import Any

from plinth.projects.v1 import workflow_service_pb2 as pb
from plinth.projects.v1 import workflow_service_pb2_grpc
from services.projects.convert import workflows as convert
from services.projects.service.workflows import WorkflowService

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class WorkflowServicer(workflow_service_pb2_grpc.WorkflowServiceServicer):
    """WorkflowService."""

    def __init__(self, service: WorkflowService) -> None:
        self._service = service

    def CreateWorkflow(self, request: pb.CreateWorkflowRequest, context: Context) -> pb.CreateWorkflowResponse:
        workspace_id, new = convert.workspace_in(request.parent), request.workflow
        workflow = self._service.create(
            workspace_id,
            new.display_name,
            new.description,
            convert.subject_from_proto(new.subject),
            convert.definition_from_proto(workspace_id, new),
            is_default=new.is_default,
        )
        return pb.CreateWorkflowResponse(workflow=convert.workflow_to_proto(workflow))

    def GetWorkflow(self, request: pb.GetWorkflowRequest, context: Context) -> pb.GetWorkflowResponse:
        workflow = self._service.get(*convert.workflow_in(request.name))
        return pb.GetWorkflowResponse(workflow=convert.workflow_to_proto(workflow))

    def ListWorkflows(self, request: pb.ListWorkflowsRequest, context: Context) -> pb.ListWorkflowsResponse:
        found, next_token = self._service.list_workflows(
            convert.workspace_in(request.parent), request.page_size, request.page_token
        )
        return pb.ListWorkflowsResponse(workflows=map(convert.workflow_to_proto, found), next_page_token=next_token)

    def ListWorkflowVersions(
        self, request: pb.ListWorkflowVersionsRequest, context: Context
    ) -> pb.ListWorkflowVersionsResponse:
        found, next_token = self._service.list_versions(
            *convert.workflow_in(request.parent, field="parent"), request.page_size, request.page_token
        )
        return pb.ListWorkflowVersionsResponse(
            workflow_versions=map(convert.version_to_proto, found), next_page_token=next_token
        )

    def UpdateWorkflow(self, request: pb.UpdateWorkflowRequest, context: Context) -> pb.UpdateWorkflowResponse:
        wanted = request.workflow
        workspace_id, workflow_id = convert.workflow_in(wanted.name)
        patch = convert.workflow_patch_from_proto(workspace_id, wanted, request.update_mask)
        workflow = self._service.update(workspace_id, workflow_id, wanted.etag, patch)
        return pb.UpdateWorkflowResponse(workflow=convert.workflow_to_proto(workflow))

    def DeleteWorkflow(self, request: pb.DeleteWorkflowRequest, context: Context) -> pb.DeleteWorkflowResponse:
        self._service.delete(*convert.workflow_in(request.name), request.etag)
        return pb.DeleteWorkflowResponse()
