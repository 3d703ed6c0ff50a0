"""Who can be assigned: tenancy knows who is a member, and is asked by stub, never while a unit of work is open."""

from uuid import UUID

from plinth.tenancy.v1 import access_service_pb2, access_service_pb2_grpc
from services.kernel.caller import current_caller
from services.kernel.names import USER, WORKSPACE
from services.projects.errors import AssigneeNotMember


class Assignees:
    """Members of workspaces, as tenancy tells of them."""

    def __init__(self, access: access_service_pb2_grpc.AccessServiceStub) -> None:
        self._access = access

    def can_be(self, workspace_id: UUID, user_id: UUID | None) -> bool:
        """Whether that is a member of the workspace, or nobody. The caller is one: the chain has seen to it."""
        if user_id is None or user_id == current_caller().require_grant().user_id:
            return True
        answer = self._access.GetGrant(
            access_service_pb2.GetGrantRequest(
                workspace=WORKSPACE.format(workspace=workspace_id), user=USER.format(user=user_id)
            )
        )
        return answer.HasField("grant")


def require_member(assignee_id: UUID | None, is_member: bool) -> None:
    """Let pass only who can be assigned, as `can_be` has told. Raises AssigneeNotMember."""
    if not is_member:
        raise AssigneeNotMember(USER.format(user=assignee_id) if assignee_id is not None else "")
