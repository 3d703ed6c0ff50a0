"""Every stub over one channel, and channels that carry credentials."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import grpc

from plinth.documents.v1 import document_service_pb2_grpc, ingestion_service_pb2_grpc
from plinth.events.v1 import event_service_pb2_grpc, job_service_pb2_grpc, webhook_service_pb2_grpc
from plinth.identity.v1 import (
    api_key_service_pb2_grpc,
    auth_service_pb2_grpc,
    session_service_pb2_grpc,
    user_service_pb2_grpc,
)
from plinth.projects.v1 import (
    activity_service_pb2_grpc,
    approval_service_pb2_grpc,
    project_service_pb2_grpc,
    task_service_pb2_grpc,
    workflow_service_pb2_grpc,
)
from plinth.search.v1 import index_service_pb2_grpc, search_service_pb2_grpc
from plinth.tenancy.v1 import (
    access_service_pb2_grpc,
    audit_service_pb2_grpc,
    invite_service_pb2_grpc,
    member_service_pb2_grpc,
    role_service_pb2_grpc,
    workspace_service_pb2_grpc,
)


class Stubs:
    """Stubs of every service, over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        self.users = user_service_pb2_grpc.UserServiceStub(channel)
        self.sessions = session_service_pb2_grpc.SessionServiceStub(channel)
        self.api_keys = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)
        self.workspaces = workspace_service_pb2_grpc.WorkspaceServiceStub(channel)
        self.members = member_service_pb2_grpc.MemberServiceStub(channel)
        self.invites = invite_service_pb2_grpc.InviteServiceStub(channel)
        self.roles = role_service_pb2_grpc.RoleServiceStub(channel)
        self.access = access_service_pb2_grpc.AccessServiceStub(channel)
        self.audit = audit_service_pb2_grpc.AuditServiceStub(channel)
        self.events = event_service_pb2_grpc.EventServiceStub(channel)
        self.webhooks = webhook_service_pb2_grpc.WebhookServiceStub(channel)
        self.jobs = job_service_pb2_grpc.JobServiceStub(channel)
        self.documents = document_service_pb2_grpc.DocumentServiceStub(channel)
        self.ingestions = ingestion_service_pb2_grpc.IngestionServiceStub(channel)
        self.index = index_service_pb2_grpc.IndexServiceStub(channel)
        self.search = search_service_pb2_grpc.SearchServiceStub(channel)
        self.workflows = workflow_service_pb2_grpc.WorkflowServiceStub(channel)
        self.projects = project_service_pb2_grpc.ProjectServiceStub(channel)
        self.tasks = task_service_pb2_grpc.TaskServiceStub(channel)
        self.approvals = approval_service_pb2_grpc.ApprovalServiceStub(channel)
        self.activity = activity_service_pb2_grpc.ActivityServiceStub(channel)


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class WithMetadata(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]  # generic in its stubs only
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamStreamClientInterceptor,  # type: ignore[type-arg]
):
    """Adds metadata to every call, e.g. the token of a person."""

    def __init__(self, *pairs: tuple[str, str], timeout: float = 20.0) -> None:
        self._pairs = pairs
        self._timeout = timeout

    def _go(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or ()), *self._pairs]
        timeout = self._timeout if details.timeout is None else details.timeout
        new = _Details(details.method, timeout, metadata, details.credentials, None, None)
        return continuation(new, request)

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return self._go(continuation, details, request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return self._go(continuation, details, request)

    def intercept_stream_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return self._go(continuation, details, request)

    def intercept_stream_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return self._go(continuation, details, request)


def with_token(channel: grpc.Channel, token: str) -> grpc.Channel:
    """The channel, with a bearer token (or API key) on every call."""
    return grpc.intercept_channel(channel, WithMetadata(("authorization", f"Bearer {token}")))
