"""Chapter two: a project on its way, what may hold it back, and everybody who follows it."""

from plinth.projects.v1 import (
    activity_service_pb2,
    activity_service_pb2_grpc,
    approval_pb2,
    approval_service_pb2,
    approval_service_pb2_grpc,
    project_service_pb2,
    project_service_pb2_grpc,
)
from services.demo.cast import join, token_in
from services.demo.stage import Json, Stage


def tell(stage: Stage) -> None:
    """From an idea to done, past an old etag, a guard, an approval and a changed workflow."""
    stage.chapter("Projects and their workflow")
    projects = project_service_pb2_grpc.ProjectServiceStub(stage.channel)
    approvals = approval_service_pb2_grpc.ApprovalServiceStub(stage.channel)
    activity = activity_service_pb2_grpc.ActivityServiceStub(stage.channel)

    stage.say("Margaret founds a workspace, and Hedy joins as a member.")
    margaret, hedy = join(stage, "Margaret"), join(stage, "Hedy")
    workspace = str(
        stage.rest("POST", "/v1/workspaces", {"displayName": "Moon Shots"}, token=margaret)["workspace"]["name"]
    )
    invite = {"email": stage.address("Hedy"), "role": f"{workspace}/roles/member"}
    stage.rest("POST", f"/v1/{workspace}/invites", invite, token=margaret)
    stage.rest("POST", "/v1/invites:accept", {"token": token_in(stage.mail(stage.address("Hedy")))}, token=hedy)

    stage.say("Hedy starts to watch what is done there, notes how far she is, and looks away.")
    watch = "plinth.projects.v1.ActivityService/WatchActivity"
    begin = activity_service_pb2.WatchActivityRequest(parent=workspace)
    [beginning] = stage.watch(activity.WatchActivity, watch, begin, token=hedy, enough=bool)

    stage.say("A project follows the workflow that comes with every workspace.")
    project = stage.rest("POST", f"/v1/{workspace}/projects", {"displayName": "Apollo"}, token=hedy)["project"]
    name = str(project["name"])
    _transition(stage, hedy, project, "in_progress")

    stage.say("Margaret moves it too, from what she read before Hedy's move. Nobody's work is run over.")
    _transition(stage, margaret, project, "cancelled", expect=409, reason="ETAG_MISMATCH")

    stage.say("Margaret makes completing a matter of two: somebody must be assigned, and somebody else approve.")
    workflow = stage.rest("GET", f"/v1/{project['workflow']}", token=margaret)["workflow"]
    for transition in workflow["transitions"]:
        if (transition["fromState"], transition["toState"]) == ("in_progress", "completed"):
            transition |= {"guard": "project.assignee != ''", "requiredApprovals": 1}
    body = {"transitions": workflow["transitions"], "etag": workflow["etag"]}
    stage.rest("PATCH", f"/v1/{workflow['name']}?updateMask=transitions", body, token=margaret)

    stage.say("Hedy asks what she could do, before she tries.")
    stage.rest("GET", f"/v1/{name}:availableTransitions", token=hedy)
    project = stage.rest("GET", f"/v1/{name}", token=hedy)["project"]
    _transition(stage, hedy, project, "completed", expect=400, reason="GUARD_REFUSED")

    stage.say("She takes it on, and asks again. The project waits.")
    body = {"assignee": project["author"], "etag": project["etag"]}
    project = stage.rest("PATCH", f"/v1/{name}?updateMask=assignee", body, token=hedy)["project"]
    approval = _transition(stage, hedy, project, "completed")["approval"]

    stage.say("Hedy may not approve, and nobody may their own request. Margaret does; the same commit makes the move.")
    decide = "plinth.projects.v1.ApprovalService/DecideApproval"
    decision = approval_service_pb2.DecideApprovalRequest(
        name=approval["name"], decision=approval_pb2.DECISION_APPROVE, etag=approval["etag"], comment="Well done"
    )
    stage.grpc(approvals.DecideApproval, decide, decision, token=hedy, reason="PERMISSION_DENIED")
    stage.grpc(approvals.DecideApproval, decide, decision, token=margaret)
    done = stage.grpc(
        projects.GetProject,
        "plinth.projects.v1.ProjectService/GetProject",
        project_service_pb2.GetProjectRequest(name=name),
        token=hedy,
    )
    stage.check(done.project.state == "completed", "the project is completed")

    stage.say("Margaret drops a state that a project is in. Not without saying where the project goes.")
    workflow = stage.rest("GET", f"/v1/{workflow['name']}", token=margaret)["workflow"]
    body = _without(workflow, "completed") | {"etag": workflow["etag"]}
    path = f"/v1/{workflow['name']}?updateMask=states,transitions"
    stage.rest("PATCH", path, body, token=margaret, expect=400, reason="STATE_IN_USE")
    body["stateMigrations"] = [{"fromState": "completed", "toState": "in_review"}]
    stage.rest("PATCH", path, body, token=margaret)

    stage.say("Hedy looks again, from where she stopped. She has missed nothing.")
    resume = activity_service_pb2.WatchActivityRequest(parent=workspace, cursor=beginning.cursor)
    seen = stage.watch(
        activity.WatchActivity,
        watch,
        resume,
        token=hedy,
        enough=lambda messages: any(message.activity.verb == "migrated" for message in messages),
    )
    verbs = [message.activity.verb for message in seen if message.activity.resource == name]
    stage.check(
        verbs == ["created", "transitioned", "updated", "transitioned", "migrated"],
        "the project was created, moved, changed, moved and taken along by its workflow, in this order",
    )


def _transition(stage: Stage, token: str, project: Json, to_state: str, *, expect: int = 200, reason: str = "") -> Json:
    body = {"toState": to_state, "etag": project["etag"]}
    return stage.rest("POST", f"/v1/{project['name']}:transition", body, token=token, expect=expect, reason=reason)


def _without(workflow: Json, state: str) -> Json:
    """The states and transitions of a workflow without one of the states."""
    return {
        "states": [one for one in workflow["states"] if one["id"] != state],
        "transitions": [one for one in workflow["transitions"] if state not in (one["fromState"], one["toState"])],
    }
