"""The domains of the mesh, and how each is put together and served: the list that a new domain joins."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import grpc
from prometheus_client.registry import Collector

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
from services.documents import servicer as documents
from services.documents import subscribers as documents_subscribers
from services.documents import watch as documents_watch
from services.documents.blobs.build import store_of
from services.documents.blobs.port import BlobStoreUnavailable
from services.documents.blobs.port import check as check_store
from services.documents.service import StageReport, build_documents, build_ingester, build_resealing
from services.events import servicer as events
from services.events import subscribers as events_subscribers
from services.events import watch as events_watch
from services.events.service import build_events
from services.identity import servicer as identity
from services.identity import subscribers as identity_subscribers
from services.identity import watch as identity_watch
from services.identity.service import build_identity
from services.kernel.errors import DependencyUnavailable
from services.kernel.jobs import JobHandler
from services.kernel.log_stream import LogStreams
from services.kernel.subscriptions import Subscription
from services.projects import servicer as projects
from services.projects import subscribers as projects_subscribers
from services.projects import watch as projects_watch
from services.projects.service import build_projects
from services.runtime import Runtime
from services.search import servicer as search
from services.search import subscribers as search_subscribers
from services.search.service import build_search, build_searching
from services.tenancy import servicer as tenancy
from services.tenancy import watch as tenancy_watch
from services.tenancy.service import build_tenancy


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a domain is put together with: the process's parts, and ways to the other domains.

    `permissions` and `subscriptions` are those of the whole mesh; the latter are known once it is put together.
    """

    runtime: Runtime
    channel: Callable[[str], grpc.Channel]
    permissions: frozenset[str]
    subscriptions: Callable[[], Sequence[Subscription[Any]]]


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does for a domain: about events, and jobs of its kinds; and what it tells Prometheus of that."""

    subscriptions: Sequence[Subscription[Any]] = ()
    job_handlers: Sequence[JobHandler] = ()
    collectors: Sequence[Collector] = ()


class Domain(Protocol):
    """One domain in one process. Servers are Any: a grpc.Server, a grpc.aio.Server, or the mesh inside the process."""

    package: ClassVar[str]
    services: ClassVar[tuple[str, ...]]

    def __init__(self, around: Surroundings) -> None: ...

    def check(self) -> None:
        """Try what every call will need. Raises DecryptionError, or what the database says."""

    def register(self, server: Any) -> None:
        """Add its unary methods."""

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Add its `Watch…` methods: those of the feed end when `stopping` is set, those of the log with the log."""

    def work(self) -> Work:
        """What a worker does for it."""

    def sweep(self) -> None:
        """Delete what is no longer kept, and bring what is encrypted under the current master key."""


class Identity:
    """Who the users are."""

    package: ClassVar[str] = "plinth.identity.v1"
    services: ClassVar[tuple[str, ...]] = ("AuthService", "UserService", "SessionService", "ApiKeyService")

    def __init__(self, around: Surroundings) -> None:
        runtime = around.runtime
        self._hub = runtime.hub
        self._services = build_identity(
            runtime.resources,
            runtime.settings,
            runtime.keyring,
            runtime.pager,
            member_service_pb2_grpc.MemberServiceStub(around.channel("tenancy")),
        )

    def check(self) -> None:
        """Whether there is a key to sign with, and the master keys open it."""
        self._services.signing_keys.signer()

    def register(self, server: Any) -> None:
        """Add its unary methods."""
        built = self._services
        auth_service_pb2_grpc.add_AuthServiceServicer_to_server(identity.AuthServicer(built), server)
        user_service_pb2_grpc.add_UserServiceServicer_to_server(identity.UserServicer(built), server)
        session_service_pb2_grpc.add_SessionServiceServicer_to_server(identity.SessionServicer(built), server)
        api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server(identity.ApiKeyServicer(built), server)

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Add its `Watch…` methods: those of the feed end when `stopping` is set, those of the log with the log."""
        watcher = identity_watch.SessionWatcher(self._hub, stopping)
        session_service_pb2_grpc.add_SessionServiceServicer_to_server(watcher, server)

    def work(self) -> Work:
        """What a worker does for it."""
        return Work(identity_subscribers.subscriptions(self._services))

    def sweep(self) -> None:
        """Delete what is no longer kept, and bring what is encrypted under the current master key."""
        self._services.housekeeping.sweep()
        self._services.housekeeping.reseal()


class Tenancy:
    """Workspaces, who is in them, and what they may do there."""

    package: ClassVar[str] = "plinth.tenancy.v1"
    services: ClassVar[tuple[str, ...]] = (
        "WorkspaceService",
        "MemberService",
        "InviteService",
        "RoleService",
        "AccessService",
        "AuditService",
    )

    def __init__(self, around: Surroundings) -> None:
        runtime = around.runtime
        self._hub = runtime.hub
        self._services = build_tenancy(
            runtime.resources,
            runtime.pager,
            around.permissions,
            runtime.settings.public_url,
            user_service_pb2_grpc.UserServiceStub(around.channel("identity")),
        )

    def check(self) -> None:
        """Nothing here is encrypted."""

    def register(self, server: Any) -> None:
        """Add its unary methods."""
        built = self._services
        workspaces = tenancy.WorkspaceServicer(built.workspaces)
        workspace_service_pb2_grpc.add_WorkspaceServiceServicer_to_server(workspaces, server)
        member_service_pb2_grpc.add_MemberServiceServicer_to_server(tenancy.MemberServicer(built.members), server)
        invite_service_pb2_grpc.add_InviteServiceServicer_to_server(tenancy.InviteServicer(built.invites), server)
        role_service_pb2_grpc.add_RoleServiceServicer_to_server(tenancy.RoleServicer(built.roles), server)
        access_service_pb2_grpc.add_AccessServiceServicer_to_server(tenancy.AccessServicer(built.access), server)
        audit_service_pb2_grpc.add_AuditServiceServicer_to_server(tenancy.AuditServicer(built.audit), server)

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Add its `Watch…` methods: those of the feed end when `stopping` is set, those of the log with the log."""
        watcher = tenancy_watch.AccessWatcher(self._hub, stopping)
        access_service_pb2_grpc.add_AccessServiceServicer_to_server(watcher, server)

    def work(self) -> Work:
        """Nothing: no event or job concerns it yet."""
        return Work()

    def sweep(self) -> None:
        """Delete what is no longer kept; nothing here is encrypted."""
        self._services.housekeeping.purge()


class Events:
    """What happened in a workspace, and what follows from it: webhooks and durable jobs."""

    package: ClassVar[str] = "plinth.events.v1"
    services: ClassVar[tuple[str, ...]] = ("EventService", "WebhookService", "JobService")

    def __init__(self, around: Surroundings) -> None:
        runtime = around.runtime
        self._services = build_events(
            runtime.resources,
            runtime.settings,
            runtime.keyring,
            runtime.pager,
            user_service_pb2_grpc.UserServiceStub(around.channel("identity")),
            access_service_pb2_grpc.AccessServiceStub(around.channel("tenancy")),
            around.subscriptions,
        )

    def check(self) -> None:
        """What is encrypted here is opened by deliveries alone."""

    def register(self, server: Any) -> None:
        """Add its unary methods."""
        built = self._services
        event_service_pb2_grpc.add_EventServiceServicer_to_server(events.EventServicer(built.events), server)
        webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server(events.WebhookServicer(built.webhooks), server)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(events.JobServicer(built.jobs), server)

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Add its `Watch…` methods: those of the feed end when `stopping` is set, those of the log with the log."""
        event_service_pb2_grpc.add_EventServiceServicer_to_server(events_watch.EventWatcher(log), server)

    def work(self) -> Work:
        """What a worker does for it."""
        return Work(events_subscribers.subscriptions(self._services), events_subscribers.job_handlers(self._services))

    def sweep(self) -> None:
        """Delete what is no longer kept, and bring what is encrypted under the current master key."""
        self._services.housekeeping.sweep()
        self._services.housekeeping.reseal()


class Projects:
    """Projects and tasks, the workflows that they move through, approvals, and activity."""

    package: ClassVar[str] = "plinth.projects.v1"
    services: ClassVar[tuple[str, ...]] = (
        "WorkflowService",
        "ProjectService",
        "TaskService",
        "ApprovalService",
        "ActivityService",
    )

    def __init__(self, around: Surroundings) -> None:
        runtime = around.runtime
        access = access_service_pb2_grpc.AccessServiceStub(around.channel("tenancy"))
        self._services = build_projects(runtime.resources, runtime.pager, access)

    def check(self) -> None:
        """Nothing here is encrypted."""

    def register(self, server: Any) -> None:
        """Add its unary methods."""
        built = self._services
        workflow_service_pb2_grpc.add_WorkflowServiceServicer_to_server(
            projects.WorkflowServicer(built.workflows), server
        )
        project_service_pb2_grpc.add_ProjectServiceServicer_to_server(projects.ProjectServicer(built.projects), server)
        task_service_pb2_grpc.add_TaskServiceServicer_to_server(projects.TaskServicer(built.tasks), server)
        approval_service_pb2_grpc.add_ApprovalServiceServicer_to_server(
            projects.ApprovalServicer(built.approvals), server
        )
        activity_service_pb2_grpc.add_ActivityServiceServicer_to_server(
            projects.ActivityServicer(built.activity), server
        )

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Add its `Watch…` methods: those of the feed end when `stopping` is set, those of the log with the log."""
        watcher = projects_watch.ActivityWatcher(self._services.activity, log)
        activity_service_pb2_grpc.add_ActivityServiceServicer_to_server(watcher, server)

    def work(self) -> Work:
        """What a worker does for it."""
        return Work(
            projects_subscribers.subscriptions(self._services), projects_subscribers.job_handlers(self._services)
        )

    def sweep(self) -> None:
        """Delete what is no longer kept; nothing here is encrypted."""
        self._services.housekeeping.purge()


class Documents:
    """Files with their versions, uploads in parts, and who may see them."""

    package: ClassVar[str] = "plinth.documents.v1"
    services: ClassVar[tuple[str, ...]] = ("DocumentService", "IngestionService")

    def __init__(self, around: Surroundings) -> None:
        runtime = around.runtime
        self._store = store_of(runtime.settings, runtime.keyring)
        self._services = build_documents(runtime.resources, runtime.settings, runtime.pager, self._store)
        self._resealing = build_resealing(runtime.resources, runtime.keyring, self._store)
        self._settings = runtime.settings
        self._stages = StageReport()
        self._ingester = build_ingester(
            runtime.resources,
            runtime.settings,
            self._store,
            index_service_pb2_grpc.IndexServiceStub(around.channel("search")),
            self._stages,
        )

    def check(self) -> None:
        """Whether the blob store can be written, read and deleted from. Raises DependencyUnavailable."""
        try:
            check_store(self._store)
        except BlobStoreUnavailable as error:
            raise DependencyUnavailable("blob store") from error

    def register(self, server: Any) -> None:
        """Add its unary methods."""
        built = self._services
        document_service_pb2_grpc.add_DocumentServiceServicer_to_server(
            documents.DocumentServicer(built.documents, built.uploads), server
        )
        ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(
            documents.IngestionServicer(built.ingestions), server
        )

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Add its `Watch…` methods: those of the feed end when `stopping` is set, those of the log with the log."""
        watcher = documents_watch.IngestionWatcher(self._services.ingestions, log)
        ingestion_service_pb2_grpc.add_IngestionServiceServicer_to_server(watcher, server)

    def work(self) -> Work:
        """What a worker does for it."""
        return Work(
            documents_subscribers.subscriptions(self._services),
            documents_subscribers.job_handlers(self._ingester, self._settings),
            [self._stages],
        )

    def sweep(self) -> None:
        """Bring to the workers what no job will move, delete what is no longer kept, and follow the master key."""
        self._services.ingestions.revive()
        self._services.housekeeping.sweep()
        self._resealing.reseal()


class Search:
    """What documents are found by: passages, postings and vectors."""

    package: ClassVar[str] = "plinth.search.v1"
    services: ClassVar[tuple[str, ...]] = ("IndexService", "SearchService")

    def __init__(self, around: Surroundings) -> None:
        runtime = around.runtime
        documents = document_service_pb2_grpc.DocumentServiceStub(around.channel("documents"))
        self._services = build_search(runtime.resources, runtime.settings)
        self._searching = build_searching(self._services, runtime.resources, runtime.pager, documents)

    def check(self) -> None:
        """Nothing here is encrypted."""

    def register(self, server: Any) -> None:
        """Add its unary methods."""
        index_service_pb2_grpc.add_IndexServiceServicer_to_server(search.IndexServicer(self._services), server)
        search_service_pb2_grpc.add_SearchServiceServicer_to_server(search.SearchServicer(self._searching), server)

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:
        """Nothing here is watched."""

    def work(self) -> Work:
        """What a worker does for it."""
        return Work(search_subscribers.subscriptions(self._services), search_subscribers.job_handlers(self._services))

    def sweep(self) -> None:
        """Delete what is no longer kept; nothing here is encrypted."""
        self._services.housekeeping.sweep()


DOMAINS: Mapping[str, type[Domain]] = {
    "identity": Identity,
    "tenancy": Tenancy,
    "projects": Projects,
    "events": Events,
    "documents": Documents,
    "search": Search,
}


def service_names(domain: str) -> list[str]:
    """The full names of a domain's services."""
    kind = DOMAINS[domain]
    return [f"{kind.package}.{service}" for service in kind.services]
