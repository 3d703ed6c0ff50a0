"""How events is put together and served."""

import asyncio
from typing import Any, ClassVar

from plinth.events.v1 import event_service_pb2_grpc, job_service_pb2_grpc, webhook_service_pb2_grpc
from plinth.identity.v1 import user_service_pb2_grpc
from plinth.tenancy.v1 import access_service_pb2_grpc
from services.domains.domain import Surroundings, Work
from services.events import servicer as events
from services.events import subscribers as events_subscribers
from services.events import watch as events_watch
from services.events.service import build_events
from services.kernel.log_stream import LogStreams


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
