"""The audit log as tenancy shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from services.tenancy.model.names import AUDIT_EVENT


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that was done. `detail` is the recorded event in protojson, so its shape is that message's.

    A `restricted` one is about what not everyone in the workspace may see.
    """

    id: UUID
    workspace_id: UUID
    time: datetime
    actor_type: str
    actor: str
    user_id: UUID | None
    action: str
    resource: str
    detail: Mapping[str, Any]
    source: str
    user_agent: str
    request_id: str
    trace_id: str
    restricted: bool

    @property
    def name(self) -> str:
        """The resource name."""
        return AUDIT_EVENT.format(workspace=self.workspace_id, audit_event=self.id)

    def shown(self, *, to_owner: bool) -> Self:
        """As a reader gets it: who did what to which resource, and of a restricted one owners alone get the detail."""
        return replace(self, detail={}) if self.restricted and not to_owner else self


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events to show: what is empty or None does not restrict. `start_time` is included, `end_time` is not."""

    actor: str = ""
    action: str = ""
    resource: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """As text, for a page token to be bound to."""
        times = (time.isoformat() if time else "" for time in (self.start_time, self.end_time))
        return (self.actor, self.action, self.resource, *times)
