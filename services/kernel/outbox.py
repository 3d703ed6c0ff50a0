"""Events and audit rows, written in the commit that they tell of: by one statement, right before it.

An event is a CloudEvents 1.0 event: `MemberRemoved` of package plinth.tenancy.v1 has the type
`plinth.tenancy.member.removed.v1`. Its audit row holds the same message as JSON, and who did it from where.

The statement first takes a lock for each subject, and the commit sets them free. So whoever comes second to a subject
draws its sequences after the first one's commit: a subject's order in the outbox is the order of its commits. The locks
are the last that a transaction takes, in order, so nobody deadlocks over them; and one that idles holds none.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from uuid import UUID

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from psycopg.types.json import Jsonb
from sqlalchemy import Boolean, Column, Integer, bindparam, column, func, insert, select, values
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel import tables
from services.kernel.caller import Caller
from services.kernel.db import Session, Statement, compiled
from services.kernel.ids import new_id

# A commit notifies it while the sequencer sleeps.
CHANNEL = "plinth_outbox"
# Locks of subjects are two integers, `EVNT` and a bucket: so many, that a commit with a million subjects does not
# outgrow the lock table, and that two subjects seldom share one.
LOCK_CLASS = 0x45564E54
_BUCKETS = 4096
# Whoever flushes shares this one until the commit, and the sequencer has it for itself while it sleeps: it cannot fall
# asleep over a commit that is under way, and nobody has to write down that it does.
SLEEP_LOCK = -1

_CAMEL_WORD = re.compile(r"[A-Z][a-z0-9]*")
_ROWS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event and its audit row, until the commit: the columns of both; `client` is an address.

    Readers of the log do not get one that is `restricted`; what is not `audited` has no audit row.
    """

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
    actor_type: str
    user_id: UUID | None
    detail: Jsonb
    client: str
    user_agent: str
    request_id: str
    trace_id: str
    restricted: bool
    audited: bool


_FIELDS = tuple(field.name for field in fields(Emitted))
# Where the audit's table names a field of Emitted otherwise.
_AUDIT_FIELDS = {"action": "type", "resource": "subject", "source": "client"}


@cache
def event_type(descriptor: Descriptor) -> str:
    """The CloudEvents type of an event message: package, noun, verb and version."""
    organisation, domain, version = descriptor.file.package.split(".")
    *noun, verb = _CAMEL_WORD.findall(descriptor.name)
    return f"{organisation}.{domain}.{'_'.join(noun).lower()}.{verb.lower()}.{version}"


def emitted(
    subject: str,
    event: Message,
    *,
    workspace_id: UUID | None,
    caller: Caller,
    now: datetime,
    restricted: bool = False,
    audited: bool = True,
) -> Emitted:
    """The event about `subject` (a resource name) as it is now, to be flushed with the commit."""
    kind = event_type(event.DESCRIPTOR)
    return Emitted(
        id=new_id(),
        workspace_id=workspace_id,
        type=kind,
        source=f"//plinth/{kind.split('.')[1]}",
        subject=subject,
        time=now,
        data_schema=event.DESCRIPTOR.full_name,
        data=event.SerializeToString(),
        actor=caller.principal,
        traceparent=caller.traceparent,
        actor_type=_actor_type(caller),
        user_id=caller.user_id,
        detail=Jsonb(MessageToDict(event)),
        client=caller.source,
        user_agent=caller.user_agent,
        request_id=caller.request_id,
        trace_id=caller.trace_id,
        restricted=restricted,
        audited=audited,
    )


def flush(session: Session, events: Sequence[Emitted]) -> None:
    """Write the events, in their order, and wake a sequencer that sleeps. The commit has to follow at once."""
    # The first statement takes the locks of all that follow.
    buckets = sorted({zlib.crc32(event.subject.encode()) % _BUCKETS for event in events})
    for start in range(0, len(events), _ROWS_AT_ONCE):
        rows = events[start : start + _ROWS_AT_ONCE]
        params = {f"{name}_{n}": getattr(row, name) for n, row in enumerate(rows) for name in _FIELDS}
        session.run(_flush(len(rows)), buckets=buckets, **params)
        buckets = []


@cache
def _flush(count: int) -> Statement:
    """So many events in one round trip: their locks, the rows of both tables, and the wake-up."""
    bucket = func.unnest(bindparam("buckets", type_=ARRAY(Integer))).column_valued("bucket")
    locked = select(func.count(func.pg_advisory_xact_lock(LOCK_CLASS, bucket))).scalar_subquery()
    kinds = {field: c.type for field, c in _columns().items()} | {"audited": Boolean()}
    rows = values(*(column(field, kind) for field, kind in kinds.items()), name="emitted").data(
        [tuple(bindparam(f"{field}_{n}", type_=kind) for field, kind in kinds.items()) for n in range(count)]
    )
    # A condition on the locks, though it always holds: PostgreSQL weighs it before it draws the first sequence.
    outbox_columns = [c.name for c in tables.outbox.columns if c.name != "sequence"]
    append = insert(tables.outbox).from_select(
        outbox_columns, select(*(rows.c[n] for n in outbox_columns)).where(locked >= 0)
    )
    audit_columns = [c.name for c in tables.audit.columns]
    note = insert(tables.audit).from_select(
        audit_columns, select(*(rows.c[_AUDIT_FIELDS.get(n, n)] for n in audit_columns)).where(rows.c.audited)
    )
    awake = func.pg_try_advisory_xact_lock_shared(LOCK_CLASS, SLEEP_LOCK, type_=Boolean)
    wake = select(func.pg_notify(CHANNEL, "")).where(~awake)
    return compiled(wake.add_cte(append.cte("append"), note.cte("note")))


def _columns() -> dict[str, Column[object]]:
    """The columns that the fields of Emitted go to, by the fields' names."""
    audit = {_AUDIT_FIELDS.get(c.name, c.name): c for c in tables.audit.columns}
    outbox = {c.name: c for c in tables.outbox.columns if c.name != "sequence"}
    return audit | outbox


def _actor_type(caller: Caller) -> str:
    if caller.service is not None:
        return "service"
    if caller.api_key_id is not None:
        return "api_key"
    return "user" if caller.user_id is not None else "anonymous"
