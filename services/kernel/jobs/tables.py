"""Tables of the schema `jobs`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Computed,
    FetchedValue,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    literal_column,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

metadata = MetaData(schema="jobs")
# Who holds a unique key. The planner has to see the words of a partial index's predicate.
LIVE: ColumnElement[bool] = literal_column("state in ('arrived', 'scheduled', 'waiting', 'ready', 'running')")

_TIME = TIMESTAMP(timezone=True)

jobs = Table(
    "jobs",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("workspace_id", UUID),
    Column("lane", UUID, Computed("", persisted=True), nullable=False),
    Column("queue", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("rank", SmallInteger, nullable=False),
    Column("state", Text, nullable=False, server_default=FetchedValue()),
    Column("arrival", BigInteger, nullable=False, server_default=FetchedValue()),
    Column("turn", BigInteger),
    Column("unique_key", Text),
    Column("attempt", Integer, nullable=False, server_default=FetchedValue()),
    Column("max_attempts", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False, server_default=FetchedValue()),
    Column("worker", Text, nullable=False, server_default=FetchedValue()),
    Column("cancel_requested", Boolean, nullable=False, server_default=FetchedValue()),
    Column("dead_reason", Text, nullable=False, server_default=FetchedValue()),
    Column("last_error", Text, nullable=False, server_default=FetchedValue()),
    Column("actor", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("restricted", Boolean, nullable=False, server_default="false"),
    Column("create_time", _TIME, nullable=False),
    Column("run_time", _TIME, nullable=False),
    Column("lease_time", _TIME),
    Column("start_time", _TIME),
    Column("end_time", _TIME),
    Column("expire_time", _TIME),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("schedule", Text, nullable=False),
    Column("next_time", _TIME, nullable=False),
)
