"""An event as its readers see it: CloudEvents' attributes, the message it holds, and its place in the log."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to `subject` (a resource name), at `position` of the log.

    `type` is e.g. `plinth.tenancy.member.removed.v1`, `source` `//plinth/tenancy`; `actor` is the principal who did it,
    e.g. `users/…`; `data` a message of the full name `data_schema`. Without a workspace it is a user's own affair.
    One that is `restricted` is for subscribers inside the mesh: whoever shows events to people passes over it.
    """

    position: int
    id: UUID
    workspace_id: UUID | None
    type: str
    source: str
    subject: str
    time: datetime
    data_schema: str
    data: bytes
    actor: str
    traceparent: str
    restricted: bool = False

    def message(self) -> Message:
        """What happened, as the message it was emitted as. Raises KeyError where its stubs were not imported."""
        descriptor = descriptor_pool.Default().FindMessageTypeByName(self.data_schema)
        return message_factory.GetMessageClass(descriptor).FromString(self.data)
