"""Tables of the schema `tenancy`. Constraints and policies stand in the migration."""

from sqlalchemy import Column, Computed, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP, UUID

metadata = MetaData(schema="tenancy")

_TIME = TIMESTAMP(timezone=True)

workspaces = Table(
    "workspaces",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
    Column("delete_time", _TIME),
    Column("purge_time", _TIME),
)

roles = Table(
    "roles",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("role_id", UUID, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("permissions", ARRAY(Text), nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

# `custom_role_id` is null for built-in roles, so that its foreign key holds for custom ones alone.
members = Table(
    "members",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("user_id", UUID, primary_key=True),
    Column("role", Text, nullable=False),
    Column("custom_role_id", UUID, Computed("…", persisted=True)),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

# `pending_role_id` is null unless a pending invite gives a custom role: a closed invite does not keep a role alive.
invites = Table(
    "invites",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("invite_id", UUID, primary_key=True),
    Column("email", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("pending_role_id", UUID, Computed("…", persisted=True)),
    Column("state", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("inviter_id", UUID, nullable=False),
    Column("expire_time", _TIME, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)
