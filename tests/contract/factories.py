"""What the descriptors cannot say: how each kind of resource comes to be, and what a few requests need besides.

A new kind of resource joins `RESOURCES`. A request whose valid form does not follow from its descriptor (a token out of
a mail, another caller than the owner) joins `REQUESTS`. Nothing else is written by hand for a new method.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
from google.protobuf.message import Message

from interceptors.service_token import ServiceTokens
from plinth.documents.v1 import document_pb2, document_service_pb2, ingestion_service_pb2, upload_pb2
from plinth.events.v1 import (
    event_service_pb2,
    job_service_pb2,
    webhook_endpoint_pb2,
    webhook_service_pb2,
)
from plinth.identity.v1 import api_key_pb2, api_key_service_pb2, auth_service_pb2, user_service_pb2
from plinth.projects.v1 import (
    activity_service_pb2,
    approval_pb2,
    approval_service_pb2,
    project_pb2,
    project_service_pb2,
    task_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from plinth.search.v1 import hit_pb2, index_service_pb2, search_service_pb2
from plinth.tenancy.v1 import (
    invite_pb2,
    invite_service_pb2,
    member_service_pb2,
    role_pb2,
    role_service_pb2,
    workspace_service_pb2,
)
from services.kernel.secrets import Keyring
from tests.conftest import OWNER_URL
from tests.support.people import PASSWORD, People, Person, token_in
from tests.support.settings import MASTER_KEYS
from tests.support.stubs import Stubs, with_token
from tests.support.waiting import until


@dataclass
class Scene:
    """A workspace of its own, with its owner: what a request is made about, and who makes it."""

    people: People
    owner: Person
    workspace: str

    def link(self, email: str) -> str:
        """The token of the newest mail to an address."""
        return token_in(self.people.read_mail(email)[0])


def new_scene(people: People) -> Scene:
    """A new workspace of a new owner."""
    owner = people.new("owner")
    return Scene(people, owner, people.workspace_of(owner).name)


def _member(scene: Scene) -> str:
    person = scene.people.member(scene.owner, scene.workspace)
    return f"{scene.workspace}/members/{person.user_id}"


def _role(scene: Scene) -> str:
    role = role_pb2.Role(display_name=f"Role {secrets.token_hex(6)}", permissions=["members.read"])
    request = role_service_pb2.CreateRoleRequest(parent=scene.workspace, role=role)
    return scene.owner.stubs.roles.CreateRole(request).role.name


def _invite(scene: Scene, email: str = "") -> str:
    invite = invite_pb2.Invite(email=email or scene.people.address(), role=f"{scene.workspace}/roles/member")
    request = invite_service_pb2.CreateInviteRequest(parent=scene.workspace, invite=invite)
    return scene.owner.stubs.invites.CreateInvite(request).invite.name


def _api_key(scene: Scene) -> str:
    key = api_key_pb2.ApiKey(display_name="Made for a test", permissions=["members.read"])
    request = api_key_service_pb2.CreateApiKeyRequest(parent=scene.workspace, api_key=key)
    return scene.owner.stubs.api_keys.CreateApiKey(request).api_key.name


def _session(scene: Scene) -> str:
    request = auth_service_pb2.SignInRequest(email=scene.owner.email, password=PASSWORD)
    return scene.people.stubs.auth.SignIn(request).session


def _event(scene: Scene) -> str:
    """The newest event of the workspace, which has two from its beginning."""
    request = event_service_pb2.ListEventsRequest(parent=scene.workspace)
    found = scene.owner.stubs.events.ListEvents

    until(lambda: len(found(request).events) > 1, "the events of a new workspace")
    return found(request).events[0].name


def _webhook_endpoint(scene: Scene) -> str:
    endpoint = webhook_endpoint_pb2.WebhookEndpoint(url="https://hooks.example.com/")
    request = webhook_service_pb2.CreateWebhookEndpointRequest(parent=scene.workspace, webhook_endpoint=endpoint)
    return scene.owner.stubs.webhooks.CreateWebhookEndpoint(request).webhook_endpoint.name


def _delivery(scene: Scene, endpoint: str = "") -> str:
    request = webhook_service_pb2.TestEndpointRequest(name=endpoint or _webhook_endpoint(scene))
    return scene.owner.stubs.webhooks.TestEndpoint(request).delivery.name


def _job(scene: Scene) -> str:
    """A job that is dead, as only a worker can make one."""
    _delivery(scene)
    name = scene.owner.stubs.jobs.ListJobs(job_service_pb2.ListJobsRequest(parent=scene.workspace)).jobs[0].name
    with psycopg.connect(os.environ[OWNER_URL], autocommit=True) as connection:
        connection.execute(
            "update jobs.jobs set state = 'dead', dead_reason = 'permanent', end_time = now() where id = %s",
            [name.rpartition("/")[2]],
        )
    return name


def _definition(required_approvals: int = 0) -> workflow_pb2.Workflow:
    """A workflow with one move in it."""
    states = [
        workflow_pb2.WorkflowState(id="open", category=workflow_pb2.STATE_CATEGORY_UNSTARTED),
        workflow_pb2.WorkflowState(id="closed", category=workflow_pb2.STATE_CATEGORY_COMPLETED),
    ]
    move = workflow_pb2.WorkflowTransition(from_state="open", to_state="closed", required_approvals=required_approvals)
    return workflow_pb2.Workflow(
        display_name=f"Workflow {secrets.token_hex(6)}", states=states, initial_state="open", transitions=[move]
    )


def _new_workflow(scene: Scene, workflow: workflow_pb2.Workflow) -> workflow_pb2.Workflow:
    request = workflow_service_pb2.CreateWorkflowRequest(parent=scene.workspace, workflow=workflow)
    return scene.owner.stubs.workflows.CreateWorkflow(request).workflow


def _workflow(scene: Scene) -> str:
    workflow = _new_workflow(scene, _definition())
    # A second version, so that there is something to list.
    workflow.transitions.add(from_state="closed", to_state="open")
    request = workflow_service_pb2.UpdateWorkflowRequest(workflow=workflow)
    return scene.owner.stubs.workflows.UpdateWorkflow(request).workflow.name


def _new_project(person: Person, workspace: str, workflow: str = "") -> project_pb2.Project:
    project = project_pb2.Project(display_name=f"Project {secrets.token_hex(6)}", workflow=workflow)
    request = project_service_pb2.CreateProjectRequest(parent=workspace, project=project)
    return person.stubs.projects.CreateProject(request).project


def _project(scene: Scene) -> str:
    return _new_project(scene.owner, scene.workspace).name


def _task_in(scene: Scene, project: str) -> str:
    task = task_pb2.Task(display_name=f"Task {secrets.token_hex(6)}")
    request = task_service_pb2.CreateTaskRequest(parent=project, task=task)
    return scene.owner.stubs.tasks.CreateTask(request).task.name


def _task(scene: Scene) -> str:
    project = _project(scene)
    _task_in(scene, project)
    return _task_in(scene, project)


def _approval(scene: Scene) -> str:
    """One that the owner may decide: somebody else asks for the move."""
    workflow = _new_workflow(scene, _definition(required_approvals=1))
    person = scene.people.member(scene.owner, scene.workspace)
    project = _new_project(person, scene.workspace, workflow.name)
    request = project_service_pb2.TransitionProjectRequest(name=project.name, to_state="closed", etag=project.etag)
    return person.stubs.projects.TransitionProject(request).approval.name


def _document(scene: Scene) -> str:
    """One with two versions, so that there is something to list."""
    name = f"{secrets.token_hex(6)}.txt"
    create = scene.owner.stubs.documents.CreateDocument
    created = [
        create(
            document_service_pb2.CreateDocumentRequest(
                parent=scene.workspace, document=document_pb2.Document(display_name=name, content=content)
            )
        )
        for content in (b"one", b"two")
    ]
    return created[0].document.name


def _ingestion(scene: Scene) -> str:
    request = document_service_pb2.GetDocumentRequest(name=_document(scene))
    return scene.owner.stubs.documents.GetDocument(request).document.ingestion


def _upload(scene: Scene) -> str:
    upload = upload_pb2.Upload(display_name=f"{secrets.token_hex(6)}.txt", size_bytes=4)
    request = document_service_pb2.StartUploadRequest(parent=scene.workspace, upload=upload)
    return scene.owner.stubs.documents.StartUpload(request).upload.name


# By the form of its name: makes one in the scene's workspace (or of its owner), and tells the name.
RESOURCES: Mapping[str, Callable[[Scene], str]] = {
    "workspaces/*": lambda scene: scene.workspace,
    "workspaces/*/members/*": _member,
    "workspaces/*/roles/*": _role,
    "workspaces/*/invites/*": _invite,
    "workspaces/*/apiKeys/*": _api_key,
    "workspaces/*/events/*": _event,
    "workspaces/*/webhookEndpoints/*": _webhook_endpoint,
    "workspaces/*/webhookEndpoints/*/deliveries/*": _delivery,
    "workspaces/*/jobs/*": _job,
    "workspaces/*/workflows/*": _workflow,
    "workspaces/*/projects/*": _project,
    "workspaces/*/projects/*/tasks/*": _task,
    "workspaces/*/approvals/*": _approval,
    "workspaces/*/documents/*": _document,
    "workspaces/*/uploads/*": _upload,
    "workspaces/*/ingestions/*": _ingestion,
    "workspaces/*/documentUsage": lambda scene: f"{scene.workspace}/documentUsage",
    "workspaces/*/index": lambda scene: f"{scene.workspace}/index",
    "users/*": lambda scene: scene.owner.name,
    "me/sessions/*": _session,
}

# The request is Any: each function is listed for the one type whose fields it sets.
Completion = Callable[[Scene, Any], Person | None]


def _verification(scene: Scene, request: Any) -> None:
    email = scene.people.address()
    scene.people.register(email)
    request.token = scene.link(email)


def _sign_in(scene: Scene, request: Any) -> None:
    request.email, request.password = scene.owner.email, PASSWORD


def _refresh(scene: Scene, request: Any) -> None:
    request.refresh_token = scene.people.sign_in(scene.owner.email).refresh_token


def _reset(scene: Scene, request: Any) -> None:
    email = scene.people.new().email
    scene.people.stubs.auth.StartPasswordReset(auth_service_pb2.StartPasswordResetRequest(email=email))
    request.token = scene.link(email)


def _change_password(scene: Scene, request: Any) -> None:
    request.current_password = PASSWORD


def _start_email_change(scene: Scene, request: Any) -> None:
    request.password = PASSWORD


def _finish_email_change(scene: Scene, request: Any) -> None:
    start = user_service_pb2.StartEmailChangeRequest(new_email=scene.people.address(), password=PASSWORD)
    scene.owner.stubs.users.StartEmailChange(start)
    request.token = scene.link(start.new_email)


def _own_etag(person: Person) -> str:
    return person.stubs.users.GetMe(user_service_pb2.GetMeRequest()).user.etag


def _update_me(scene: Scene, request: Any) -> None:
    request.user.etag = _own_etag(scene.owner)


def _delete_me(scene: Scene, request: Any) -> Person:
    person = scene.people.new()
    request.etag = _own_etag(person)
    return person


def _answer_invite(scene: Scene, request: Any) -> Person:
    person = scene.people.new("invited")
    _invite(scene, person.email)
    request.token = scene.link(person.email)
    return person


def _leave(scene: Scene, request: Any) -> Person:
    return scene.people.member(scene.owner, scene.workspace)


def _transfer(scene: Scene, request: Any) -> None:
    member = member_service_pb2.GetMemberRequest(name=request.member)
    request.etag = scene.owner.stubs.members.GetMember(member).member.etag
    # Else the caller could not call a second time.
    request.keep_ownership = True


def _remove_user(scene: Scene, request: Any) -> None:
    # The scene's owner would leave a workspace without one.
    request.user = scene.people.new().name


def _undelete(scene: Scene, request: Any) -> None:
    delete = workspace_service_pb2.DeleteWorkspaceRequest(name=scene.workspace, etag=request.etag)
    request.etag = scene.owner.stubs.workspaces.DeleteWorkspace(delete).workspace.etag


def _list_events(scene: Scene, request: Any) -> None:
    _event(scene)
    # No event is of a type that was made up.
    request.ClearField("types")


def _list_activity(scene: Scene, request: Any) -> None:
    """Once everything that was done in the workspace is told of, as people see it a moment later."""
    _project(scene)
    workspace_id = scene.workspace.removeprefix("workspaces/")
    with psycopg.connect(os.environ[OWNER_URL], autocommit=True) as connection:

        def told() -> bool:
            [counts] = connection.execute(
                "select (select count(*) from kernel.audit where workspace_id = %(id)s"
                " and action like 'plinth.projects.%%'),"
                " (select count(*) from projects.activity where workspace_id = %(id)s)",
                {"id": workspace_id},
            )
            return bool(counts[0] == counts[1] > 1)

        until(told, "the activity of the workspace")


def _replay_events(scene: Scene, request: Any) -> None:
    request.ClearField("types")
    request.since.GetCurrentTime()
    request.target = _webhook_endpoint(scene)


def _recover(scene: Scene, request: Any) -> None:
    request.since.GetCurrentTime()


def _list_deliveries(scene: Scene, request: Any) -> None:
    _delivery(scene, request.parent)
    _delivery(scene, request.parent)


def _cancel_job(scene: Scene, request: Any) -> None:
    # A job that has ended cannot be cancelled.
    scene.owner.stubs.jobs.RequeueJob(job_service_pb2.RequeueJobRequest(name=request.name))


def _create_workflow(scene: Scene, request: Any) -> None:
    request.workflow.ClearField("initial_state")
    request.workflow.MergeFrom(
        workflow_pb2.Workflow(states=_definition().states, initial_state="open", transitions=_definition().transitions)
    )


def _update_workflow(scene: Scene, request: Any) -> None:
    # A text that fits is not yet one of the states.
    request.workflow.ClearField("initial_state")


def _update_project(scene: Scene, request: Any) -> None:
    # It stays what it is.
    request.project.ClearField("workflow")


def _create_task(scene: Scene, request: Any) -> None:
    # The factory makes workflows of projects.
    request.task.ClearField("workflow")


def _transition_project(scene: Scene, request: Any) -> None:
    request.to_state = "planned"


def _transition_task(scene: Scene, request: Any) -> None:
    request.to_state = "doing"


def _update_task(scene: Scene, request: Any) -> None:
    # It stays what it is.
    request.task.ClearField("workflow")


def _move_task(scene: Scene, request: Any) -> None:
    # The factory's is a task of another project; this one becomes the first of its own.
    request.ClearField("after")


def _list_tasks(scene: Scene, request: Any) -> None:
    _task_in(scene, request.parent)
    _task_in(scene, request.parent)


def _undelete_project(scene: Scene, request: Any) -> None:
    delete = project_service_pb2.DeleteProjectRequest(name=request.name, etag=request.etag)
    request.etag = scene.owner.stubs.projects.DeleteProject(delete).project.etag


def _decide(scene: Scene, request: Any) -> None:
    request.decision = approval_pb2.DECISION_APPROVE


def _first_version(scene: Scene, request: Any) -> None:
    request.version = 1


def _publish(scene: Scene, request: Any) -> None:
    request.facts.version = 1


def _search(scene: Scene, request: Any) -> None:
    for _ in range(2):
        request.query = _found_by(scene, str(uuid4()), _document(scene))
    # A mode that is none of the values that a test tries.
    request.mode = hit_pb2.SEARCH_MODE_LEXICAL


def _explain_hit(scene: Scene, request: Any) -> None:
    request.chunk = str(uuid4())
    request.query = _found_by(scene, request.chunk, _document(scene))


def _found_by(scene: Scene, chunk: str, document: str) -> str:
    """Have a document found by a word of a passage of it, as only its ingestion can: the word."""
    token = ServiceTokens(Keyring.parse(MASTER_KEYS)).issue("documents")
    index = Stubs(with_token(scene.people.channel, token)).index
    passage = index_service_pb2.Passage(chunk=chunk, text="findable")
    facts = index_service_pb2.DocumentFacts(document=document, version=1, author=scene.owner.name, everyone=True)
    index.StageChunks(
        index_service_pb2.StageChunksRequest(parent=scene.workspace, document=document, version=1, passages=[passage])
    )
    index.PublishDocument(
        index_service_pb2.PublishDocumentRequest(parent=scene.workspace, facts=facts, passage_count=1)
    )
    return "findable"


def _create_document(scene: Scene, request: Any) -> None:
    # Both roles and members are none that a visibility could have.
    request.document.ClearField("visibility")
    request.document.content = b"words"


def _upload_document(scene: Scene, request: Any) -> None:
    request.ClearField("visibility")
    request.content.data = b"words"


def _start_upload(scene: Scene, request: Any) -> None:
    request.upload.ClearField("visibility")
    request.upload.size_bytes = 4


def _append_upload(scene: Scene, request: Any) -> None:
    request.content.data = b"part"


def _finish_upload(scene: Scene, request: Any) -> None:
    part = document_service_pb2.AppendUploadRequest(name=request.name)
    part.content.data = b"file"
    scene.owner.stubs.documents.AppendUpload(part)


def _list_documents(scene: Scene, request: Any) -> None:
    _document(scene)
    _document(scene)


def _update_document(scene: Scene, request: Any) -> None:
    request.document.ClearField("visibility")


def _reprocess_document(scene: Scene, request: Any) -> None:
    """Once nothing is under way, as only a worker can have it."""
    with psycopg.connect(os.environ[OWNER_URL], autocommit=True) as connection:
        for statement in (
            "update documents.ingestions set state = 'dead', end_time = now() where document_id = %s",
            "update documents.documents set ingestion_state = 'dead' where document_id = %s",
        ):
            connection.execute(statement, [request.name.rpartition("/")[2]])


def _list_ingestions(scene: Scene, request: Any) -> None:
    _document(scene)


def _retry_ingestion(scene: Scene, request: Any) -> None:
    # Else there is nothing to begin again.
    scene.owner.stubs.ingestions.CancelIngestion(ingestion_service_pb2.CancelIngestionRequest(name=request.name))


# By request: sets what the descriptor cannot tell; answers who calls, where that is not the owner of the workspace.
REQUESTS: Mapping[type[Message], Completion] = {
    index_service_pb2.StageChunksRequest: _first_version,
    index_service_pb2.EmbedChunksRequest: _first_version,
    index_service_pb2.PublishDocumentRequest: _publish,
    search_service_pb2.SearchRequest: _search,
    search_service_pb2.ExplainHitRequest: _explain_hit,
    event_service_pb2.ListEventsRequest: _list_events,
    event_service_pb2.ReplayEventsRequest: _replay_events,
    activity_service_pb2.ListActivityRequest: _list_activity,
    webhook_service_pb2.RecoverEndpointRequest: _recover,
    webhook_service_pb2.ListDeliveriesRequest: _list_deliveries,
    job_service_pb2.CancelJobRequest: _cancel_job,
    auth_service_pb2.VerifyEmailRequest: _verification,
    auth_service_pb2.SignInRequest: _sign_in,
    auth_service_pb2.RefreshRequest: _refresh,
    auth_service_pb2.FinishPasswordResetRequest: _reset,
    user_service_pb2.ChangePasswordRequest: _change_password,
    user_service_pb2.StartEmailChangeRequest: _start_email_change,
    user_service_pb2.FinishEmailChangeRequest: _finish_email_change,
    user_service_pb2.UpdateMeRequest: _update_me,
    user_service_pb2.DeleteMeRequest: _delete_me,
    invite_service_pb2.AcceptInviteRequest: _answer_invite,
    invite_service_pb2.DeclineInviteRequest: _answer_invite,
    member_service_pb2.LeaveWorkspaceRequest: _leave,
    member_service_pb2.TransferOwnershipRequest: _transfer,
    member_service_pb2.RemoveUserRequest: _remove_user,
    workspace_service_pb2.UndeleteWorkspaceRequest: _undelete,
    workflow_service_pb2.CreateWorkflowRequest: _create_workflow,
    workflow_service_pb2.UpdateWorkflowRequest: _update_workflow,
    project_service_pb2.TransitionProjectRequest: _transition_project,
    project_service_pb2.UndeleteProjectRequest: _undelete_project,
    project_service_pb2.UpdateProjectRequest: _update_project,
    task_service_pb2.CreateTaskRequest: _create_task,
    task_service_pb2.ListTasksRequest: _list_tasks,
    task_service_pb2.UpdateTaskRequest: _update_task,
    task_service_pb2.MoveTaskRequest: _move_task,
    task_service_pb2.TransitionTaskRequest: _transition_task,
    approval_service_pb2.DecideApprovalRequest: _decide,
    document_service_pb2.CreateDocumentRequest: _create_document,
    document_service_pb2.UploadDocumentRequest: _upload_document,
    document_service_pb2.StartUploadRequest: _start_upload,
    document_service_pb2.AppendUploadRequest: _append_upload,
    document_service_pb2.FinishUploadRequest: _finish_upload,
    document_service_pb2.ListDocumentsRequest: _list_documents,
    document_service_pb2.UpdateDocumentRequest: _update_document,
    document_service_pb2.ReprocessDocumentRequest: _reprocess_document,
    ingestion_service_pb2.ListIngestionsRequest: _list_ingestions,
    ingestion_service_pb2.RetryIngestionRequest: _retry_ingestion,
}

# These end the caller's own right to call, so a second call of theirs is refused at the door.
ENDS_ACCESS = frozenset({auth_service_pb2.SignOutRequest, member_service_pb2.LeaveWorkspaceRequest})
