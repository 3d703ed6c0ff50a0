"""How identity is put together and served."""

import asyncio
from typing import Any, ClassVar

from plinth.identity.v1 import (
    api_key_service_pb2_grpc,
    auth_service_pb2_grpc,
    session_service_pb2_grpc,
    user_service_pb2_grpc,
)
from plinth.tenancy.v1 import member_service_pb2_grpc
from services.domains.domain import Surroundings, Work
from services.identity import servicer as identity
from services.identity import subscribers as identity_subscribers
from services.identity import watch as identity_watch
from services.identity.service import build_identity
from services.kernel.log_stream import LogStreams


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
