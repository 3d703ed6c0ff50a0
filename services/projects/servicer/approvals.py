"""The gRPC adapter of approvals: convert, call, convert."""

from typing import Any

from plinth.projects.v1 import approval_service_pb2 as pb
from plinth.projects.v1 import approval_service_pb2_grpc
from services.projects.convert import approvals as convert
from services.projects.convert.workflows import workspace_in
from services.projects.service.approvals import ApprovalService

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class ApprovalServicer(approval_service_pb2_grpc.ApprovalServiceServicer):
    """ApprovalService."""

    def __init__(self, service: ApprovalService) -> None:
        self._service = service

    def GetApproval(self, request: pb.GetApprovalRequest, context: Context) -> pb.GetApprovalResponse:
        approval = self._service.get(*convert.approval_in(request.name))
        return pb.GetApprovalResponse(approval=convert.approval_to_proto(approval))

    def ListApprovals(self, request: pb.ListApprovalsRequest, context: Context) -> pb.ListApprovalsResponse:
        found, next_token = self._service.list_approvals(
            workspace_in(request.parent), request.page_size, request.page_token, request.filter, request.order_by
        )
        return pb.ListApprovalsResponse(
            approvals=[convert.approval_to_proto(approval) for approval in found], next_page_token=next_token
        )

    def DecideApproval(self, request: pb.DecideApprovalRequest, context: Context) -> pb.DecideApprovalResponse:
        approval = self._service.decide(
            *convert.approval_in(request.name),
            convert.decision_from_proto(request.decision),
            request.etag,
            request.comment,
        )
        return pb.DecideApprovalResponse(approval=convert.approval_to_proto(approval))
