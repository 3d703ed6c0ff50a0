"""What an API key may do in the workspace that it belongs to."""

import grpc

from plinth.identity.v1 import api_key_pb2, api_key_service_pb2
from plinth.tenancy.v1 import access_pb2, role_pb2
from plinth.tenancy.v1 import access_service_pb2 as access
from plinth.tenancy.v1 import audit_service_pb2 as audit
from plinth.tenancy.v1 import invite_service_pb2 as invites
from plinth.tenancy.v1 import member_service_pb2 as members
from plinth.tenancy.v1 import role_service_pb2 as roles
from plinth.tenancy.v1 import workspace_service_pb2 as workspaces
from tests.support.errors import refused
from tests.support.people import Person
from tests.support.stubs import Stubs, with_token
from tests.tenancy.team import Team

CODE = grpc.StatusCode


def key_of(team: Team, person: Person, *permissions: str) -> Stubs:
    request = api_key_service_pb2.CreateApiKeyRequest(
        parent=team.workspace, api_key=api_key_pb2.ApiKey(display_name="CI", permissions=permissions)
    )
    secret = person.stubs.api_keys.CreateApiKey(request).secret
    return Stubs(with_token(team.people.channel, secret))


class TestApiKey:
    def test_holds_its_own_permissions_and_no_others_of_its_creator(self, team: Team) -> None:
        key = key_of(team, team.owner, "members.read")
        request = access.TestPermissionsRequest(
            name=team.workspace, permissions=["members.read", "workspace.read", "members.manage"]
        )
        assert list(key.access.TestPermissions(request).permissions) == ["members.read"]

    def test_stands_as_the_actor_in_the_audit_log(self, team: Team) -> None:
        key = key_of(team, team.owner, "roles.manage", "workspace.read")
        key.roles.CreateRole(
            roles.CreateRoleRequest(
                parent=team.workspace, role=role_pb2.Role(display_name="R", permissions=["workspace.read"])
            )
        )
        event = team.owner.stubs.audit.ListAuditEvents(
            audit.ListAuditEventsRequest(parent=team.workspace)
        ).audit_events[0]
        assert event.actor_type == event.ACTOR_TYPE_API_KEY
        assert event.actor.startswith(f"{team.workspace}/apiKeys/")
        assert event.user == team.owner.name

    def test_makes_no_role_above_what_it_holds_itself(self, team: Team) -> None:
        key = key_of(team, team.owner, "roles.manage")
        request = roles.CreateRoleRequest(
            parent=team.workspace, role=role_pb2.Role(display_name="R", permissions=["audit.read"])
        )
        with refused(CODE.PERMISSION_DENIED, "ROLE_ABOVE_OWN"):
            key.roles.CreateRole(request)

    def test_explanation_names_the_key_that_lacks_it(self, team: Team) -> None:
        key = key_of(team, team.owner, "members.read")
        request = access.ExplainAccessRequest(name=team.workspace, permission="members.manage")
        answer = key.access.ExplainAccess(request)
        assert not answer.granted
        assert [step.kind for step in answer.steps if not step.passed] == [
            access_pb2.AccessStep.KIND_API_KEY,
            access_pb2.AccessStep.KIND_VERDICT,
        ]

    def test_does_not_leave_for_its_creator(self, team: Team) -> None:
        key = key_of(team, team.admin, "workspace.read")
        with refused(CODE.PERMISSION_DENIED, "SESSION_REQUIRED"):
            key.members.LeaveWorkspace(members.LeaveWorkspaceRequest(name=team.workspace))

    def test_neither_sees_nor_makes_nor_joins_other_workspaces(self, team: Team, other_team: Team) -> None:
        key = key_of(team, team.owner, "workspace.read")
        with refused(CODE.PERMISSION_DENIED, "SESSION_REQUIRED"):
            key.workspaces.ListWorkspaces(workspaces.ListWorkspacesRequest())
        other_team.invite(other_team.owner, team.owner.email)
        token = other_team.token_for(team.owner.email)
        with refused(CODE.PERMISSION_DENIED, "SESSION_REQUIRED"):
            key.invites.AcceptInvite(invites.AcceptInviteRequest(token=token))
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            key.workspaces.GetWorkspace(workspaces.GetWorkspaceRequest(name=other_team.workspace))

    def test_dies_with_its_creators_membership(self, team: Team) -> None:
        key = key_of(team, team.admin, "workspace.read")
        request = workspaces.GetWorkspaceRequest(name=team.workspace)
        key.workspaces.GetWorkspace(request)
        team.remove(team.owner, team.admin)
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            key.workspaces.GetWorkspace(request)
