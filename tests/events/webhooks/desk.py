"""A workspace with webhook endpoints, and somebody who does its jobs when the clock says that they are due."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from plinth.tenancy.v1 import events_pb2
from services.events.model.deliveries import Delivery, DeliveryState
from services.events.model.endpoints import EndpointSettings, SignatureScheme, WebhookEndpoint
from services.events.model.health import Health
from services.events.repository import EventsRepositories
from services.events.service.jobs import JobService
from services.events.webhooks.build import Webhooks
from services.events.webhooks.secrets import Secrets
from services.kernel.caller import Caller
from services.kernel.clock import FrozenClock
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.jobs import Attempt, JobCancelled, JobHandler, PermanentError, RetryableError
from services.kernel.jobs.attempt import Hold
from services.kernel.names import WORKSPACE
from services.kernel.outbox import event_type
from services.kernel.paging import Pager
from services.kernel.unit_of_work import UnitOfWork, Units
from tests.support.acting import acting

Row = dict[str, Any]
EVENT_TYPE = event_type(events_pb2.WorkspaceUpdated.DESCRIPTOR)


@dataclass(slots=True)
class Desk:
    """One workspace. What is done here is done as the worker does it, but at the clock's pace."""

    units: Units[EventsRepositories]
    clock: FrozenClock
    secrets: Secrets
    webhooks: Webhooks
    owner: psycopg.Connection[Any]
    workspace_id: UUID = field(default_factory=new_id)
    creator_id: UUID = field(default_factory=new_id)

    def endpoint(self, url: str, *types: str, per_second: int = 1000, signed: str = "hmac_sha256") -> WebhookEndpoint:
        """A new endpoint with a secret."""
        settings = EndpointSettings(url, "", types, SignatureScheme(signed), per_second, 0)
        now = self.clock.now()
        made = settings.endpoint(self.workspace_id, new_id(), self.creator_id, now)
        with self.units(self.workspace_id) as uow:
            uow.repo.endpoints.add(made)
            uow.repo.secrets.add(self.secrets.make(made, now).secret)
            uow.commit()
        return made

    def keys(self, endpoint: WebhookEndpoint) -> list[str]:
        """What signs for the endpoint now."""
        with self.units(self.workspace_id) as uow:
            return self.secrets.keys(uow.repo.secrets.live(self.workspace_id, endpoint.endpoint_id, self.clock.now()))

    def event(self, name: str = "Sales") -> Event:
        """Something that has just happened in the workspace."""
        workspace = WORKSPACE.format(workspace=self.workspace_id)
        message = events_pb2.WorkspaceUpdated(workspace=workspace, display_name=name)
        return Event(
            position=1,
            id=new_id(),
            workspace_id=self.workspace_id,
            type=EVENT_TYPE,
            source="//plinth/tenancy",
            subject=workspace,
            time=self.clock.now(),
            data_schema=message.DESCRIPTOR.full_name,
            data=message.SerializeToString(),
            actor="users/0199",
            traceparent="",
        )

    def happen(self, *events: Event) -> None:
        """Let the subscription handle events, in one commit; without any: a new one."""
        with self.units(self.workspace_id) as uow:
            for event in events or (self.event(),):
                self.webhooks.subscription.handle(uow, event)
            uow.commit()

    def within(self, work: Callable[[UnitOfWork[EventsRepositories]], Any]) -> Any:
        """What `work` answers, in a unit of work of its own."""
        with self.units(self.workspace_id) as uow:
            answer = work(uow)
            uow.commit()
        return answer

    def now(self, endpoint: WebhookEndpoint) -> WebhookEndpoint:
        """The endpoint as it is now."""
        with self.units(self.workspace_id) as uow:
            found = uow.repo.endpoints.get(self.workspace_id, endpoint.endpoint_id)
        assert found is not None
        return found

    def set_health(self, endpoint: WebhookEndpoint, health: Health) -> WebhookEndpoint:
        """Do what enabling and disabling it by hand does."""
        after = endpoint.with_health(health, self.clock.now())
        with self.units(self.workspace_id) as uow:
            uow.repo.endpoints.save(after)
            self.webhooks.deliveries.endpoint_changed(uow, after)
            uow.commit()
        return after

    def deliveries(self, endpoint: WebhookEndpoint, state: DeliveryState | None = None) -> list[Delivery]:
        """Its deliveries, the oldest first."""
        with self.units(self.workspace_id) as uow:
            listed = uow.repo.deliveries.list_newest(self.workspace_id, endpoint.endpoint_id, state, None, None, 10_000)
        return listed[::-1]

    def jobs(self, *kinds: str, dead: bool = False) -> list[Row]:
        """Its jobs that wait, or that are dead, in the order in which they are due; of some kinds, or all."""
        with self.owner.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                "select * from jobs.jobs where workspace_id = %s and state <> 'cancelled' and (state = 'dead') = %s"
                " order by run_time, rank, arrival, id",
                [self.workspace_id, dead],
            ).fetchall()
        return [row for row in rows if not kinds or row["kind"] in kinds]

    def cancel(self, row: Row) -> None:
        """Cancel a job by hand."""
        service = JobService(self.units, self.clock, Pager(b"page tokens"), self.webhooks.deliveries)
        with acting(Caller(workspace_id=self.workspace_id)):
            service.cancel(self.workspace_id, row["id"])

    def work(self) -> int:
        """Do every job that is due, until none is; how many attempts it took."""
        attempts = 0
        while due := [row for row in self.jobs() if row["run_time"] <= self.clock.now()]:
            self.attempt(due[0])
            attempts += 1
        return attempts

    def work_for(self, duration: timedelta) -> None:
        """Do every job at its time, while so much of it passes."""
        end = self.clock.now() + duration
        while due := [row for row in self.jobs() if row["run_time"] <= end]:
            self.clock.advance(max(due[0]["run_time"] - self.clock.now(), timedelta(0)))
            self.attempt(due[0])
        self.clock.advance(end - self.clock.now())

    def attempt(self, row: Row) -> None:
        """One attempt at a job, and what becomes of it."""
        handler = self._handler(row["kind"])
        attempt = Attempt(
            job_id=row["id"],
            kind=row["kind"],
            queue=row["queue"],
            workspace_id=row["workspace_id"],
            subject=row["subject"],
            payload=row["payload"],
            number=row["attempt"] + 1,
            max_attempts=row["max_attempts"],
            fence=row["fence"] + 1,
            run_time=row["run_time"],
            create_time=row["create_time"],
            actor=row["actor"],
            traceparent=row["traceparent"],
            unique_key=row["unique_key"],
            hold=Hold(float("inf"), float("inf"), threading.Condition()),
        )
        try:
            with acting(Caller(service="events", workspace_id=self.workspace_id)):
                handler.run(attempt)
        except RetryableError as error:
            self.owner.execute(
                "update jobs.jobs set attempt = attempt + 1, run_time = %s, last_error = %s where id = %s",
                [self.clock.now() + (error.retry_after or timedelta(0)), str(error), row["id"]],
            )
        except JobCancelled:
            self.owner.execute("update jobs.jobs set state = 'cancelled' where id = %s", [row["id"]])
        except PermanentError as error:
            self.owner.execute(
                "update jobs.jobs set attempt = attempt + 1, state = 'dead', dead_reason = 'permanent',"
                " last_error = %s, end_time = %s where id = %s",
                [str(error), self.clock.now(), row["id"]],
            )
        else:
            self.owner.execute("delete from jobs.jobs where id = %s", [row["id"]])

    def _handler(self, kind: str) -> JobHandler:
        (handler,) = (handler for handler in self.webhooks.job_handlers if handler.kind == kind)
        return handler
