"""Tables of the schema `events`. Constraints and policies stand in the migration."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID

metadata = MetaData(schema="events")

_TIME = TIMESTAMP(timezone=True)

# From `state` to `busy_until` deliveries write, without a new version: an etag stands for what people set.
webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("endpoint_id", UUID, primary_key=True),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    Column("signature_scheme", Text, nullable=False),
    Column("max_per_second", Integer, nullable=False),
    Column("payload_retention_days", Integer, nullable=False),
    Column("creator_id", UUID),
    Column("state", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since", _TIME),
    Column("probes", Integer, nullable=False),
    Column("probe_time", _TIME),
    Column("disable_time", _TIME),
    Column("disable_reason", Text, nullable=False),
    Column("last_success_time", _TIME),
    Column("last_failure_time", _TIME),
    Column("next_send_time", _TIME),
    Column("busy_until", ARRAY(_TIME), nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

# `expire_time` is null for the current secret; a former one signs until then. `public_key` is empty for HMAC.
webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("endpoint_id", UUID, primary_key=True),
    Column("secret_id", UUID, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("expire_time", _TIME),
)

# One row an endpoint and event: a replay opens it again, for another round of attempts. `payload` is what is sent; null
# once its retention has ended.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("endpoint_id", UUID, primary_key=True),
    Column("delivery_id", UUID, primary_key=True),
    Column("event_id", UUID, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("round_attempts", Integer, nullable=False),
    Column("next_attempt_time", _TIME),
    Column("reserved_time", _TIME),
    Column("payload", LargeBinary),
    Column("last_error", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("end_time", _TIME),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("endpoint_id", UUID, primary_key=True),
    Column("delivery_id", UUID, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("time", _TIME, nullable=False),
    Column("latency_ms", Integer, nullable=False),
    Column("address", Text, nullable=False),
    Column("request_headers", JSONB, nullable=False),
    Column("status", Integer),
    Column("response_headers", JSONB, nullable=False),
    Column("response_body", LargeBinary, nullable=False),
    Column("failure", Text, nullable=False),
    Column("error", Text, nullable=False),
)

# A replay goes to an endpoint or to a subscriber; `position` is how far it has come, `last_position` where it ends.
replays = Table(
    "replays",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("replay_id", UUID, primary_key=True),
    Column("endpoint_id", UUID),
    Column("subscriber", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("since", _TIME, nullable=False),
    Column("until", _TIME, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("replayed", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
)
