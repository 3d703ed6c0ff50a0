"""A workspace in which things happen, and the calls of events that its owner makes."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from plinth.events.v1 import delivery_pb2, event_pb2, job_pb2, webhook_endpoint_pb2
from plinth.events.v1 import event_service_pb2 as events
from plinth.events.v1 import job_service_pb2 as jobs
from plinth.events.v1 import webhook_service_pb2 as webhooks
from plinth.tenancy.v1 import events_pb2, workspace_pb2
from plinth.tenancy.v1 import workspace_service_pb2 as workspaces
from services.kernel.caller import Caller
from services.kernel.unit_of_work import Units
from tests.support.acting import acting
from tests.support.people import People, Person
from tests.support.waiting import until

RENAMED = "plinth.tenancy.workspace.updated.v1"


@dataclass
class Office:
    """One workspace, and its owner."""

    people: People
    owner: Person
    workspace: str
    database: "psycopg.Connection[Any]"

    @property
    def workspace_id(self) -> UUID:
        """The id in the workspace's name."""
        return UUID(self.workspace.removeprefix("workspaces/"))

    def rename(self, *display_names: str) -> None:
        """Make an event of each new name."""
        stub = self.owner.stubs.workspaces
        for display_name in display_names:
            etag = stub.GetWorkspace(workspaces.GetWorkspaceRequest(name=self.workspace)).workspace.etag
            wanted = workspace_pb2.Workspace(name=self.workspace, display_name=display_name, etag=etag)
            stub.UpdateWorkspace(workspaces.UpdateWorkspaceRequest(workspace=wanted))

    def happen(self, units: Units[Any], *happenings: tuple[str, bool]) -> None:
        """Make an event of each new name, restricted or not, in one commit."""
        with acting(Caller(user_id=self.owner.user_id, workspace_id=self.workspace_id)), units() as uow:
            for display_name, restricted in happenings:
                message = events_pb2.WorkspaceUpdated(workspace=self.workspace, display_name=display_name)
                uow.emit(self.workspace, message, restricted=restricted)
            uow.commit()

    def renamed(self, *display_names: str) -> list[event_pb2.Event]:
        """The same, and the events, oldest first, once they are in the log."""
        self.rename(*display_names)

        def found() -> list[event_pb2.Event]:
            named = {event.data["displayName"]: event for event in self.events(types=[RENAMED])}
            return [named[name] for name in display_names if name in named]

        until(lambda: len(found()) == len(display_names), "events in the log")
        return found()

    def events(self, **filters: Any) -> list[event_pb2.Event]:
        """Events, newest first."""
        request = events.ListEventsRequest(parent=self.workspace, **filters)
        return list(self.owner.stubs.events.ListEvents(request).events)

    def endpoint(self, url: str = "https://hooks.example.com/", **fields: Any) -> webhook_endpoint_pb2.WebhookEndpoint:
        """A new webhook endpoint."""
        wanted = webhook_endpoint_pb2.WebhookEndpoint(url=url, **fields)
        return self.create(wanted).webhook_endpoint

    def create(self, wanted: webhook_endpoint_pb2.WebhookEndpoint) -> webhooks.CreateWebhookEndpointResponse:
        """The same, with the secret."""
        request = webhooks.CreateWebhookEndpointRequest(parent=self.workspace, webhook_endpoint=wanted)
        return self.owner.stubs.webhooks.CreateWebhookEndpoint(request)

    def delivery(self, name: str) -> delivery_pb2.Delivery:
        """A delivery, with all that the log has of it."""
        return self.owner.stubs.webhooks.GetDelivery(webhooks.GetDeliveryRequest(name=name)).delivery

    def jobs(self, **filters: Any) -> list[job_pb2.Job]:
        """Jobs, newest first."""
        request = jobs.ListJobsRequest(parent=self.workspace, **filters)
        return list(self.owner.stubs.jobs.ListJobs(request).jobs)

    def job(self) -> str:
        """The name of a new job, which waits for a worker."""
        self.owner.stubs.webhooks.TestEndpoint(webhooks.TestEndpointRequest(name=self.endpoint().name))
        return self.jobs()[0].name

    def dead_job(self) -> str:
        """The name of a job that was given up."""
        name = self.job()
        self.set_job(name, "dead")
        return name

    def set_job(self, name: str, state: str) -> None:
        """Put a job into a state that only a worker can put it into."""
        self.database.execute(
            "update jobs.jobs set state = %s, dead_reason = case when %s = 'dead' then 'permanent' else '' end,"
            " end_time = case when %s = 'running' then null else now() end where id = %s",
            [state, state, state, name.rpartition("/")[2]],
        )

    def actions(self) -> set[str]:
        """What the audit log has of the domain, without package and version."""
        rows = self.database.execute(
            "select action from kernel.audit where workspace_id = %s and starts_with(action, 'plinth.events.')",
            [self.workspace_id],
        )
        return {action.removeprefix("plinth.events.").removesuffix(".v1") for (action,) in rows}
