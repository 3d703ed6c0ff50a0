"""How projects is put together and served."""

import asyncio
from typing import Any, ClassVar

from plinth.projects.v1 import (
    activity_service_pb2_grpc,
    approval_service_pb2_grpc,
    project_service_pb2_grpc,
    task_service_pb2_grpc,
    workflow_service_pb2_grpc,
)
from plinth.tenancy.v1 import access_service_pb2_grpc
from services.domains.domain import Surroundings, Work
from services.kernel.log_stream import LogStreams
from services.projects import servicer as projects
from services.projects import subscribers as projects_subscribers
from services.projects import watch as projects_watch
from services.projects.service import build_projects


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
