"""Events and audit rows, appended in the commit that they tell of.

An event is a CloudEvents 1.0 event: `MemberRemoved` of package plinth.tenancy.v1 has the type
`plinth.tenancy.member.removed.v1`. Its audit row holds the same message as JSON, and who did it from where.
"""

import re
from datetime import datetime
from functools import cache
from uuid import UUID

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from psycopg.types.json import Jsonb
from sqlalchemy import bindparam, insert

from services.kernel import tables
from services.kernel.caller import Caller
from services.kernel.db import Session, compiled
from services.kernel.ids import new_id

_CAMEL_WORD = re.compile(r"[A-Z][a-z0-9]*")

# Inline: a RETURNING of the generated sequence would need the right to read the outbox.
_APPEND_EVENT = compiled(
    insert(tables.outbox)
    .values({c.name: bindparam(c.name) for c in tables.outbox.columns if c.name != "sequence"})
    .inline()
)
_APPEND_AUDIT = compiled(insert(tables.audit).values({c.name: bindparam(c.name) for c in tables.audit.columns}))


@cache
def event_type(descriptor: Descriptor) -> str:
    """The CloudEvents type of an event message: package, noun, verb and version."""
    organisation, domain, version = descriptor.file.package.split(".")
    *noun, verb = _CAMEL_WORD.findall(descriptor.name)
    return f"{organisation}.{domain}.{'_'.join(noun).lower()}.{verb.lower()}.{version}"


def append(
    session: Session, subject: str, event: Message, *, workspace_id: UUID | None, caller: Caller, now: datetime
) -> None:
    """Add the event about `subject` (a resource name) and its audit row to the session's commit."""
    kind, event_id = event_type(event.DESCRIPTOR), new_id()
    session.run(
        _APPEND_EVENT,
        id=event_id,
        workspace_id=workspace_id,
        type=kind,
        source=f"//plinth/{kind.split('.')[1]}",
        subject=subject,
        time=now,
        data_schema=event.DESCRIPTOR.full_name,
        data=event.SerializeToString(),
        actor=caller.principal,
        traceparent=caller.traceparent,
    )
    session.run(
        _APPEND_AUDIT,
        id=event_id,
        workspace_id=workspace_id,
        time=now,
        actor_type=_actor_type(caller),
        actor=caller.principal,
        user_id=caller.user_id,
        action=kind,
        resource=subject,
        detail=Jsonb(MessageToDict(event)),
        source=caller.source,
        user_agent=caller.user_agent,
        request_id=caller.request_id,
        trace_id=caller.trace_id,
    )


def _actor_type(caller: Caller) -> str:
    if caller.service is not None:
        return "service"
    if caller.api_key_id is not None:
        return "api_key"
    return "user" if caller.user_id is not None else "anonymous"
