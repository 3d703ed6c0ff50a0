"""Tables of the schema `identity`; the migrations make them."""

from sqlalchemy import Boolean, Column, Double, ForeignKey, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP, UUID

metadata = MetaData(schema="identity")

_TIME = TIMESTAMP(timezone=True)

users = Table(
    "users",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False, unique=True),
    Column("email_verified", Boolean, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

passwords = Table(
    "passwords",
    metadata,
    Column("user_id", UUID, ForeignKey(users.c.id), primary_key=True),
    Column("hash", Text, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

links = Table(
    "links",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("user_id", UUID, ForeignKey(users.c.id), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("password_hash", Text),
    Column("display_name", Text),
    Column("create_time", _TIME, nullable=False),
    Column("expire_time", _TIME, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("user_id", UUID, ForeignKey(users.c.id), nullable=False),
    Column("refresh_key", LargeBinary, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("rotate_time", _TIME, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("last_used_time", _TIME, nullable=False),
    Column("expire_time", _TIME, nullable=False),
    Column("revoke_time", _TIME),
    Column("revoke_reason", Text, nullable=False),
)

known_sources = Table(
    "known_sources",
    metadata,
    Column("user_id", UUID, ForeignKey(users.c.id), primary_key=True),
    Column("source", Text, primary_key=True),
    Column("create_time", _TIME, nullable=False),
    Column("last_used_time", _TIME, nullable=False),
)

operators = Table(
    "operators",
    metadata,
    Column("user_id", UUID, ForeignKey(users.c.id), primary_key=True),
    Column("create_time", _TIME, nullable=False),
)

throttles = Table(
    "throttles",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("level", Double, nullable=False),
    Column("last_time", _TIME, nullable=False),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("public_jwk", Text, nullable=False),
    Column("private_key", LargeBinary, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("state_time", _TIME, nullable=False),
)

# No foreign key to the creator: the record of a key stays in its workspace when its creator is gone.
api_keys = Table(
    "api_keys",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("id", UUID, primary_key=True),
    Column("creator_id", UUID, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("permissions", ARRAY(Text), nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("expire_time", _TIME, nullable=False),
    Column("last_used_time", _TIME),
    Column("revoke_time", _TIME),
)
