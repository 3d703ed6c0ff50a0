"""Tables of the schema `documents`. Constraints and policies stand in the migration."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID

metadata = MetaData(schema="documents")

_TIME = TIMESTAMP(timezone=True)

documents = Table(
    "documents",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("document_id", UUID, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("tags", ARRAY(Text), nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("visibility", Text, nullable=False),
    Column("visible_roles", ARRAY(Text), nullable=False),
    Column("visible_members", ARRAY(UUID), nullable=False),
    Column("author_id", UUID, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("current_version", Integer, nullable=False),
    Column("indexed_version", Integer, nullable=False),
    Column("language", Text, nullable=False),
    Column("page_count", Integer, nullable=False),
    Column("ingestion_id", UUID),
    Column("ingestion_state", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("blob_id", UUID, primary_key=True),
    Column("state", Text, nullable=False),
    Column("create_time", _TIME, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("document_id", UUID, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("blob_id", UUID, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("author_id", UUID, nullable=False),
    Column("create_time", _TIME, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("upload_id", UUID, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("tags", ARRAY(Text), nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("visibility", Text),
    Column("visible_roles", ARRAY(Text), nullable=False),
    Column("visible_members", ARRAY(UUID), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("received_bytes", BigInteger, nullable=False),
    Column("author_id", UUID, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("expire_time", _TIME, nullable=False),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("upload_id", UUID, primary_key=True),
    Column("start_byte", BigInteger, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("blob_id", UUID, nullable=False),
)

ingestions = Table(
    "ingestions",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("ingestion_id", UUID, primary_key=True),
    Column("document_id", UUID, nullable=False),
    Column("document_version", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("warnings", ARRAY(Text), nullable=False),
    Column("language", Text, nullable=False),
    Column("page_count", Integer, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("progress_done", Integer, nullable=False),
    Column("progress_total", Integer, nullable=False),
    Column("attempts", JSONB, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("outages", Integer, nullable=False),
    Column("outage_time", _TIME),
    Column("parsed_blob_id", UUID),
    Column("retry_time", _TIME),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
    Column("end_time", _TIME),
)

usage = Table(
    "usage",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("documents", BigInteger, nullable=False),
    Column("version_bytes", BigInteger, nullable=False),
    Column("upload_bytes", BigInteger, nullable=False),
    Column("purge_time", _TIME),
)
