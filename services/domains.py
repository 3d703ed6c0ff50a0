"""The domains of the mesh, and how each is put together and served: the list that a new domain joins."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import grpc

from plinth.identity.v1 import (
    api_key_service_pb2_grpc,
    auth_service_pb2_grpc,
    session_service_pb2_grpc,
    user_service_pb2_grpc,
)
from plinth.tenancy.v1 import (
    access_service_pb2_grpc,
    audit_service_pb2_grpc,
    invite_service_pb2_grpc,
    member_service_pb2_grpc,
    role_service_pb2_grpc,
    workspace_service_pb2_grpc,
)
from services.identity import servicer as identity
from services.identity import watch as identity_watch
from services.identity.service import build_identity
from services.runtime import Runtime
from services.tenancy import servicer as tenancy
from services.tenancy import watch as tenancy_watch
from services.tenancy.service import build_tenancy


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a domain is put together with: the process's parts, ways to other domains, the permissions there are."""

    runtime: Runtime
    channel: Callable[[str], grpc.Channel]
    permissions: frozenset[str]


class Domain(Protocol):
    """One domain in one process. Servers are Any: a grpc.Server, a grpc.aio.Server, or the mesh inside the process."""

    package: ClassVar[str]
    services: ClassVar[tuple[str, ...]]

    def __init__(self, around: Surroundings) -> None: ...

    def check(self) -> None:
        """Try what every call will need. Raises DecryptionError, or what the database says."""

    def register(self, server: Any) -> None:
        """Add its unary methods."""

    def register_watches(self, server: Any, stopping: asyncio.Event) -> None:
        """Add its `Watch…` methods, which end when `stopping` is set."""

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

    def register_watches(self, server: Any, stopping: asyncio.Event) -> None:
        """Add its `Watch…` methods, which end when `stopping` is set."""
        watcher = identity_watch.SessionWatcher(self._hub, stopping)
        session_service_pb2_grpc.add_SessionServiceServicer_to_server(watcher, server)

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

    def register_watches(self, server: Any, stopping: asyncio.Event) -> None:
        """Add its `Watch…` methods, which end when `stopping` is set."""
        watcher = tenancy_watch.AccessWatcher(self._hub, stopping)
        access_service_pb2_grpc.add_AccessServiceServicer_to_server(watcher, server)

    def sweep(self) -> None:
        """Delete what is no longer kept; nothing here is encrypted."""
        self._services.housekeeping.purge()


DOMAINS: Mapping[str, type[Domain]] = {"identity": Identity, "tenancy": Tenancy}


def service_names(domain: str) -> list[str]:
    """The full names of a domain's services."""
    kind = DOMAINS[domain]
    return [f"{kind.package}.{service}" for service in kind.services]
