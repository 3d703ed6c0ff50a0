"""Chapter one: people, a workspace, an invite, and what a role does not allow."""

from uuid import uuid4

from plinth.tenancy.v1 import (
    access_service_pb2,
    access_service_pb2_grpc,
    member_service_pb2,
    member_service_pb2_grpc,
    workspace_pb2,
    workspace_service_pb2,
    workspace_service_pb2_grpc,
)
from services.demo.cast import join, register, sign_in, token_in, verify
from services.demo.stage import Stage


def tell(stage: Stage) -> None:
    """From nobody to a team of two."""
    stage.chapter("People and workspaces")
    workspaces = workspace_service_pb2_grpc.WorkspaceServiceStub(stage.channel)
    members = member_service_pb2_grpc.MemberServiceStub(stage.channel)
    access = access_service_pb2_grpc.AccessServiceStub(stage.channel)

    stage.say("Ada registers. The answer would be the same if the address were known.")
    register(stage, "Ada")

    stage.say("She may sign in at once, but founds nothing before the address is proven hers.")
    ada = sign_in(stage, "Ada")
    stage.rest(
        "POST",
        "/v1/workspaces",
        {"displayName": "Analytical Engines"},
        token=ada,
        expect=400,
        reason="EMAIL_NOT_VERIFIED",
    )

    stage.say("She follows the link in the mail, and the same token works: a token says who, not what.")
    verify(stage, "Ada")
    request_id = str(uuid4())
    founded = stage.rest(
        "POST",
        f"/v1/workspaces?requestId={request_id}",
        {"displayName": "Analytical Engines"},
        token=ada,
    )
    name = str(founded["workspace"]["name"])

    stage.say("The answer was lost on the way? The same request again, by gRPC this time, founds nothing new.")
    again = stage.grpc(
        workspaces.CreateWorkspace,
        "plinth.tenancy.v1.WorkspaceService/CreateWorkspace",
        workspace_service_pb2.CreateWorkspaceRequest(
            workspace=workspace_pb2.Workspace(display_name="Analytical Engines"), request_id=request_id
        ),
        token=ada,
    )
    stage.check(again.workspace.name == name, f"it is the same workspace, {name}")

    stage.say("Ada invites Ben as a member.")
    stage.rest(
        "POST",
        f"/v1/{name}/invites",
        {"email": stage.address("Ben"), "role": f"{name}/roles/member"},
        token=ada,
    )
    invite = token_in(stage.mail(stage.address("Ben")))

    stage.say("Eve got hold of the link. It is of no use to her, and tells her nothing.")
    eve = join(stage, "Eve")
    stage.rest("POST", "/v1/invites:accept", {"token": invite}, token=eve, expect=404, reason="INVITE_NOT_FOUND")
    stage.rest("GET", f"/v1/{name}", token=eve, expect=404, reason="NOT_FOUND")

    stage.say("Ben accepts.")
    ben = join(stage, "Ben")
    stage.rest("POST", "/v1/invites:accept", {"token": invite}, token=ben)
    stage.rest("GET", f"/v1/{name}/members", token=ben)

    stage.say("Ben is refused what his role does not allow, by REST and by gRPC alike.")
    stage.rest(
        "POST",
        f"/v1/{name}/invites",
        {"email": stage.address("Mallory"), "role": f"{name}/roles/member"},
        token=ben,
        expect=403,
        reason="PERMISSION_DENIED",
    )
    stage.grpc(
        workspaces.DeleteWorkspace,
        "plinth.tenancy.v1.WorkspaceService/DeleteWorkspace",
        workspace_service_pb2.DeleteWorkspaceRequest(name=name, etag="1"),
        token=ben,
        reason="PERMISSION_DENIED",
    )

    stage.say("Why not? Ask for the chain that denies it.")
    stage.grpc(
        access.ExplainAccess,
        "plinth.tenancy.v1.AccessService/ExplainAccess",
        access_service_pb2.ExplainAccessRequest(name=name, permission="members.invite"),
        token=ben,
    )

    stage.say("Ada removes Ben. His token is as good as before, and opens nothing: felt at once, on every process.")
    found = stage.rest("GET", f"/v1/{name}/members", token=ada)
    bens = next(m for m in found["members"] if m["email"] == stage.address("Ben"))
    stage.grpc(
        members.RemoveMember,
        "plinth.tenancy.v1.MemberService/RemoveMember",
        member_service_pb2.RemoveMemberRequest(name=bens["name"], etag=bens["etag"]),
        token=ada,
    )
    stage.rest("GET", f"/v1/{name}", token=ben, expect=404, reason="NOT_FOUND")

    stage.say("All of it is on record.")
    audit = stage.rest("GET", f"/v1/{name}/auditEvents?pageSize=5", token=ada)
    actions = [event["action"] for event in audit["auditEvents"]]
    stage.check("plinth.tenancy.member.removed.v1" in actions, "the removal stands in the audit log")
