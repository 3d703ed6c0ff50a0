"""Who can be assigned: tenancy knows who is a member, and is asked by stub, never while a unit of work is open."""

from dataclasses import dataclass
from uuid import UUID

from plinth.tenancy.v1 import access_service_pb2, access_service_pb2_grpc
from services.kernel.caller import current_caller
from services.kernel.names import USER, WORKSPACE
from services.projects.errors import AssigneeNotMember
from services.projects.model.items import ItemPatch


@dataclass(frozen=True, slots=True)
class Candidate:
    """Who is to be assigned, if anybody, and whether that is a member of the workspace."""

    user_id: UUID | None
    is_member: bool

    def require_member(self, assigned: UUID | None = None) -> None:
        """Let pass only a member, nobody, or who is `assigned` already and may have left. Raises AssigneeNotMember."""
        if self.user_id is not None and self.user_id != assigned and not self.is_member:
            raise AssigneeNotMember(USER.format(user=self.user_id))


class Assignees:
    """Members of workspaces, as tenancy tells of them."""

    def __init__(self, access: access_service_pb2_grpc.AccessServiceStub) -> None:
        self._access = access

    def candidate(self, workspace_id: UUID, user_id: UUID | None) -> Candidate:
        """Who is to be assigned. The caller is a member: the chain has seen to it."""
        if user_id is None or user_id == current_caller().require_grant().user_id:
            return Candidate(user_id, is_member=True)
        answer = self._access.GetGrant(
            access_service_pb2.GetGrantRequest(
                workspace=WORKSPACE.format(workspace=workspace_id), user=USER.format(user=user_id)
            )
        )
        return Candidate(user_id, is_member=answer.HasField("grant"))

    def candidate_of(self, workspace_id: UUID, patch: ItemPatch) -> Candidate:
        """Who is to be assigned by an update."""
        return self.candidate(workspace_id, patch.assignee_id.value if patch.assignee_id is not None else None)
