"""How tenancy is put together and served."""

import asyncio
from typing import Any, ClassVar

from plinth.identity.v1 import user_service_pb2_grpc
from plinth.tenancy.v1 import (
    access_service_pb2_grpc,
    audit_service_pb2_grpc,
    invite_service_pb2_grpc,
    member_service_pb2_grpc,
    role_service_pb2_grpc,
    workspace_service_pb2_grpc,
)
from services.domains.domain import Surroundings, Work
from services.kernel.log_stream import LogStreams
from services.tenancy import servicer as tenancy
from services.tenancy import watch as tenancy_watch
from services.tenancy.service import build_tenancy


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
