"""The gRPC adapters of tenancy: convert, call, convert."""

from collections.abc import Iterator
from typing import Any

from google.api.httpbody_pb2 import HttpBody

from plinth.tenancy.v1 import (
    access_service_pb2,
    access_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    invite_service_pb2,
    invite_service_pb2_grpc,
    member_service_pb2,
    member_service_pb2_grpc,
    role_service_pb2,
    role_service_pb2_grpc,
    workspace_service_pb2,
    workspace_service_pb2_grpc,
)
from services.kernel.wire import masked_text, optional_time
from services.tenancy import convert
from services.tenancy.service import (
    AccessService,
    AuditService,
    InviteService,
    MemberService,
    RoleService,
    WorkspaceService,
)

# The context is grpc.ServicerContext; no method here uses it.
Context = Any


class WorkspaceServicer(workspace_service_pb2_grpc.WorkspaceServiceServicer):
    """WorkspaceService."""

    def __init__(self, service: WorkspaceService) -> None:
        self._service = service

    def CreateWorkspace(
        self, request: workspace_service_pb2.CreateWorkspaceRequest, context: Context
    ) -> workspace_service_pb2.CreateWorkspaceResponse:
        workspace = self._service.create(request.workspace.display_name)
        return workspace_service_pb2.CreateWorkspaceResponse(workspace=convert.workspace_to_proto(workspace))

    def ListWorkspaces(
        self, request: workspace_service_pb2.ListWorkspacesRequest, context: Context
    ) -> workspace_service_pb2.ListWorkspacesResponse:
        found, next_token = self._service.list_mine(
            request.page_size, request.page_token, show_deleted=request.show_deleted
        )
        return workspace_service_pb2.ListWorkspacesResponse(
            workspaces=map(convert.workspace_to_proto, found), next_page_token=next_token
        )

    def GetWorkspace(
        self, request: workspace_service_pb2.GetWorkspaceRequest, context: Context
    ) -> workspace_service_pb2.GetWorkspaceResponse:
        workspace = self._service.get(convert.workspace_in(request.name))
        return workspace_service_pb2.GetWorkspaceResponse(workspace=convert.workspace_to_proto(workspace))

    def UpdateWorkspace(
        self, request: workspace_service_pb2.UpdateWorkspaceRequest, context: Context
    ) -> workspace_service_pb2.UpdateWorkspaceResponse:
        wanted = request.workspace
        display_name = masked_text(wanted, request.update_mask, "display_name")
        workspace = self._service.rename(convert.workspace_in(wanted.name), wanted.etag, display_name)
        return workspace_service_pb2.UpdateWorkspaceResponse(workspace=convert.workspace_to_proto(workspace))

    def DeleteWorkspace(
        self, request: workspace_service_pb2.DeleteWorkspaceRequest, context: Context
    ) -> workspace_service_pb2.DeleteWorkspaceResponse:
        workspace = self._service.delete(convert.workspace_in(request.name), request.etag)
        return workspace_service_pb2.DeleteWorkspaceResponse(workspace=convert.workspace_to_proto(workspace))

    def UndeleteWorkspace(
        self, request: workspace_service_pb2.UndeleteWorkspaceRequest, context: Context
    ) -> workspace_service_pb2.UndeleteWorkspaceResponse:
        workspace = self._service.undelete(convert.workspace_in(request.name), request.etag)
        return workspace_service_pb2.UndeleteWorkspaceResponse(workspace=convert.workspace_to_proto(workspace))


class MemberServicer(member_service_pb2_grpc.MemberServiceServicer):
    """MemberService."""

    def __init__(self, service: MemberService) -> None:
        self._service = service

    def GetMember(
        self, request: member_service_pb2.GetMemberRequest, context: Context
    ) -> member_service_pb2.GetMemberResponse:
        member, person = self._service.get(*convert.member_in(request.name))
        return member_service_pb2.GetMemberResponse(member=convert.member_to_proto(member, person))

    def ListMembers(
        self, request: member_service_pb2.ListMembersRequest, context: Context
    ) -> member_service_pb2.ListMembersResponse:
        found, next_token = self._service.list_members(
            convert.workspace_in(request.parent, field="parent"), request.page_size, request.page_token
        )
        return member_service_pb2.ListMembersResponse(
            members=[convert.member_to_proto(member, person) for member, person in found], next_page_token=next_token
        )

    def UpdateMember(
        self, request: member_service_pb2.UpdateMemberRequest, context: Context
    ) -> member_service_pb2.UpdateMemberResponse:
        wanted = request.member
        role = masked_text(wanted, request.update_mask, "role")
        member, person = self._service.change_role(*convert.member_in(wanted.name), wanted.etag, role)
        return member_service_pb2.UpdateMemberResponse(member=convert.member_to_proto(member, person))

    def RemoveMember(
        self, request: member_service_pb2.RemoveMemberRequest, context: Context
    ) -> member_service_pb2.RemoveMemberResponse:
        self._service.remove(*convert.member_in(request.name), request.etag)
        return member_service_pb2.RemoveMemberResponse()

    def LeaveWorkspace(
        self, request: member_service_pb2.LeaveWorkspaceRequest, context: Context
    ) -> member_service_pb2.LeaveWorkspaceResponse:
        self._service.leave(convert.workspace_in(request.name))
        return member_service_pb2.LeaveWorkspaceResponse()

    def TransferOwnership(
        self, request: member_service_pb2.TransferOwnershipRequest, context: Context
    ) -> member_service_pb2.TransferOwnershipResponse:
        new_owner, previous_owner = self._service.transfer_ownership(
            convert.workspace_in(request.name), request.member, request.etag, keep_ownership=request.keep_ownership
        )
        return member_service_pb2.TransferOwnershipResponse(
            new_owner=convert.member_to_proto(*new_owner), previous_owner=convert.member_to_proto(*previous_owner)
        )

    def RemoveUser(
        self, request: member_service_pb2.RemoveUserRequest, context: Context
    ) -> member_service_pb2.RemoveUserResponse:
        self._service.remove_user(convert.user_in(request.user))
        return member_service_pb2.RemoveUserResponse()


class InviteServicer(invite_service_pb2_grpc.InviteServiceServicer):
    """InviteService."""

    def __init__(self, service: InviteService) -> None:
        self._service = service

    def CreateInvite(
        self, request: invite_service_pb2.CreateInviteRequest, context: Context
    ) -> invite_service_pb2.CreateInviteResponse:
        wanted = request.invite
        invite = self._service.create(
            convert.workspace_in(request.parent, field="parent"),
            wanted.email,
            wanted.role,
            optional_time(wanted, "expire_time", inside="invite."),
        )
        return invite_service_pb2.CreateInviteResponse(invite=convert.invite_to_proto(invite))

    def GetInvite(
        self, request: invite_service_pb2.GetInviteRequest, context: Context
    ) -> invite_service_pb2.GetInviteResponse:
        invite = self._service.get(*convert.invite_in(request.name))
        return invite_service_pb2.GetInviteResponse(invite=convert.invite_to_proto(invite))

    def ListInvites(
        self, request: invite_service_pb2.ListInvitesRequest, context: Context
    ) -> invite_service_pb2.ListInvitesResponse:
        found, next_token = self._service.list_invites(
            convert.workspace_in(request.parent, field="parent"),
            convert.invite_state_from_proto(request.state),
            request.page_size,
            request.page_token,
        )
        return invite_service_pb2.ListInvitesResponse(
            invites=map(convert.invite_to_proto, found), next_page_token=next_token
        )

    def ResendInvite(
        self, request: invite_service_pb2.ResendInviteRequest, context: Context
    ) -> invite_service_pb2.ResendInviteResponse:
        invite = self._service.resend(*convert.invite_in(request.name))
        return invite_service_pb2.ResendInviteResponse(invite=convert.invite_to_proto(invite))

    def RevokeInvite(
        self, request: invite_service_pb2.RevokeInviteRequest, context: Context
    ) -> invite_service_pb2.RevokeInviteResponse:
        invite = self._service.revoke(*convert.invite_in(request.name))
        return invite_service_pb2.RevokeInviteResponse(invite=convert.invite_to_proto(invite))

    def AcceptInvite(
        self, request: invite_service_pb2.AcceptInviteRequest, context: Context
    ) -> invite_service_pb2.AcceptInviteResponse:
        workspace, member, person = self._service.accept(request.token)
        return invite_service_pb2.AcceptInviteResponse(
            workspace=convert.workspace_to_proto(workspace), member=convert.member_to_proto(member, person)
        )

    def DeclineInvite(
        self, request: invite_service_pb2.DeclineInviteRequest, context: Context
    ) -> invite_service_pb2.DeclineInviteResponse:
        self._service.decline(request.token)
        return invite_service_pb2.DeclineInviteResponse()


class RoleServicer(role_service_pb2_grpc.RoleServiceServicer):
    """RoleService."""

    def __init__(self, service: RoleService) -> None:
        self._service = service

    def CreateRole(
        self, request: role_service_pb2.CreateRoleRequest, context: Context
    ) -> role_service_pb2.CreateRoleResponse:
        wanted = request.role
        role = self._service.create(
            convert.workspace_in(request.parent, field="parent"),
            wanted.display_name,
            wanted.description,
            frozenset(wanted.permissions),
        )
        return role_service_pb2.CreateRoleResponse(role=convert.role_to_proto(role))

    def GetRole(self, request: role_service_pb2.GetRoleRequest, context: Context) -> role_service_pb2.GetRoleResponse:
        role = self._service.get(*convert.role_in(request.name))
        return role_service_pb2.GetRoleResponse(role=convert.role_to_proto(role))

    def ListRoles(
        self, request: role_service_pb2.ListRolesRequest, context: Context
    ) -> role_service_pb2.ListRolesResponse:
        found, next_token = self._service.list_roles(
            convert.workspace_in(request.parent, field="parent"), request.page_size, request.page_token
        )
        return role_service_pb2.ListRolesResponse(roles=map(convert.role_to_proto, found), next_page_token=next_token)

    def UpdateRole(
        self, request: role_service_pb2.UpdateRoleRequest, context: Context
    ) -> role_service_pb2.UpdateRoleResponse:
        wanted = request.role
        patch = convert.role_patch_from_proto(wanted, request.update_mask)
        role = self._service.update(*convert.role_in(wanted.name), wanted.etag, patch)
        return role_service_pb2.UpdateRoleResponse(role=convert.role_to_proto(role))

    def DeleteRole(
        self, request: role_service_pb2.DeleteRoleRequest, context: Context
    ) -> role_service_pb2.DeleteRoleResponse:
        self._service.delete(*convert.role_in(request.name), request.etag)
        return role_service_pb2.DeleteRoleResponse()


class AccessServicer(access_service_pb2_grpc.AccessServiceServicer):
    """AccessService."""

    def __init__(self, service: AccessService) -> None:
        self._service = service

    def TestPermissions(
        self, request: access_service_pb2.TestPermissionsRequest, context: Context
    ) -> access_service_pb2.TestPermissionsResponse:
        held = self._service.test(request.permissions)
        return access_service_pb2.TestPermissionsResponse(permissions=held)

    def ExplainAccess(
        self, request: access_service_pb2.ExplainAccessRequest, context: Context
    ) -> access_service_pb2.ExplainAccessResponse:
        steps = self._service.explain(convert.workspace_in(request.name), request.permission, request.member)
        return convert.steps_to_proto(steps)

    def GetGrant(
        self, request: access_service_pb2.GetGrantRequest, context: Context
    ) -> access_service_pb2.GetGrantResponse:
        grant = self._service.grant(
            convert.workspace_in(request.workspace, field="workspace"), convert.user_in(request.user)
        )
        return access_service_pb2.GetGrantResponse(grant=convert.grant_to_proto(grant))


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """AuditService."""

    def __init__(self, service: AuditService) -> None:
        self._service = service

    def ListAuditEvents(
        self, request: audit_service_pb2.ListAuditEventsRequest, context: Context
    ) -> audit_service_pb2.ListAuditEventsResponse:
        found, next_token = self._service.list_events(
            convert.workspace_in(request.parent, field="parent"),
            convert.audit_filter_from_proto(request),
            request.page_size,
            request.page_token,
        )
        return audit_service_pb2.ListAuditEventsResponse(
            audit_events=map(convert.audit_event_to_proto, found), next_page_token=next_token
        )

    def ExportAuditEvents(
        self, request: audit_service_pb2.ExportAuditEventsRequest, context: Context
    ) -> Iterator[HttpBody]:
        wanted = convert.audit_filter_from_proto(request)
        chunks = self._service.export(convert.workspace_in(request.parent, field="parent"), wanted)
        return map(convert.audit_events_to_lines, chunks)
