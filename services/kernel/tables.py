"""Tables of the schema `kernel`: what every domain appends to in its own commits."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    FetchedValue,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

metadata = MetaData(schema="kernel")

_TIME = TIMESTAMP(timezone=True)

outbox = Table(
    "outbox",
    metadata,
    Column("sequence", BigInteger, Identity(always=True), primary_key=True),
    Column("id", UUID, nullable=False, unique=True),
    Column("workspace_id", UUID),
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("time", _TIME, nullable=False),
    Column("data_schema", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("actor", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("restricted", Boolean, nullable=False, server_default="false"),
)

# Append-only, a partition for each day of `log_time`, in which positions grow without a gap.
event_log = Table(
    "event_log",
    metadata,
    Column("position", BigInteger, primary_key=True),
    Column("log_time", _TIME, primary_key=True),
    Column("id", UUID, nullable=False),
    Column("workspace_id", UUID),
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("time", _TIME, nullable=False),
    Column("data_schema", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("actor", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("restricted", Boolean, nullable=False, server_default="false"),
)

# One row.
event_retention = Table(
    "event_retention",
    metadata,
    Column("single", Boolean, primary_key=True),
    Column("dropped", BigInteger, nullable=False),
)

# The days that have events, and where each begins.
event_days = Table(
    "event_days",
    metadata,
    Column("begin_time", _TIME, primary_key=True),
    Column("first_position", BigInteger, nullable=False),
)

cursors = Table(
    "cursors",
    metadata,
    Column("subscriber", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("workspace_id", UUID),
    Column("time", _TIME, nullable=False),
    Column("actor_type", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("user_id", UUID),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    Column("source", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("restricted", Boolean, nullable=False, server_default="false"),
)

mail = Table(
    "mail",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", LargeBinary),
    Column("create_time", _TIME, nullable=False),
    Column("next_attempt_time", _TIME),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("send_time", _TIME),
    Column("last_error", Text, nullable=False, server_default=""),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("principal", Text, primary_key=True),
    Column("workspace_id", UUID, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("owner", Text, nullable=False, server_default=FetchedValue()),
    Column("payload_hash", LargeBinary, nullable=False),
    Column("answer", LargeBinary),
    Column("create_time", _TIME, nullable=False),
)
