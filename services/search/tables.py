"""Tables of the schema `search`. Constraints and policies stand in the migration."""

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    FetchedValue,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID

metadata = MetaData(schema="search")

_TIME = TIMESTAMP(timezone=True)

indexes = Table(
    "indexes",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("embedder", Text, nullable=False),
    Column("log_queries", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("next_doc_no", Integer, nullable=False),
    Column("next_chunk_no", Integer, nullable=False),
    Column("next_segment_id", BigInteger, nullable=False),
    Column("next_audience_id", Integer, nullable=False),
    Column("document_count", Integer, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("term_count", BigInteger, nullable=False),
    Column("languages", JSONB, nullable=False),
    Column("rebuilding", Boolean, nullable=False),
    Column("rebuilt_no", Integer, nullable=False),
    Column("rebuild_end", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
    Column("purge_time", _TIME),
)

audiences = Table(
    "audiences",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("audience_id", Integer, primary_key=True),
    Column("roles", ARRAY(Text), nullable=False),
    Column("members", ARRAY(UUID), nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("document_id", UUID, primary_key=True),
    Column("doc_no", Integer, nullable=False),
    Column("document_version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("audience_id", Integer, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("tags", ARRAY(Text), nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("author_id", UUID, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

staged_chunks = Table(
    "staged_chunks",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("document_id", UUID, primary_key=True),
    Column("document_version", Integer, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("chunk_id", UUID, nullable=False),
    Column("text", Text, nullable=False),
    Column("headings", ARRAY(Text), nullable=False),
    Column("page", Integer, nullable=False),
    Column("start_offset", Integer, nullable=False),
    Column("end_offset", Integer, nullable=False),
    Column("language", Text, nullable=False),
    Column("stage_time", _TIME, nullable=False),
)

chunks = Table(
    "chunks",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("chunk_no", Integer, primary_key=True),
    Column("chunk_id", UUID, nullable=False),
    Column("document_id", UUID, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("length", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("headings", ARRAY(Text), nullable=False),
    Column("page", Integer, nullable=False),
    Column("start_offset", Integer, nullable=False),
    Column("end_offset", Integer, nullable=False),
    Column("language", Text, nullable=False),
    Column("counted_for", Integer),
)

removed_chunks = Table(
    "removed_chunks",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("document_id", UUID, primary_key=True),
    Column("chunk_no", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("headings", ARRAY(Text), nullable=False),
    Column("language", Text, nullable=False),
    Column("counted_for", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
)

recounts = Table(
    "recounts",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("document_id", UUID, primary_key=True),
    Column("ask_time", _TIME, nullable=False, server_default=FetchedValue()),
)

segments = Table(
    "segments",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("segment_id", BigInteger, primary_key=True),
    Column("level", SmallInteger, nullable=False),
    Column("first_chunk_no", Integer, nullable=False),
    Column("last_chunk_no", Integer, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("doc_nos", LargeBinary, nullable=False),
)

staged_segments = Table(
    "staged_segments",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("segment_id", BigInteger, primary_key=True),
    Column("document_id", UUID, nullable=False),
    Column("document_version", Integer, nullable=False),
    Column("chunk_ids", ARRAY(UUID), nullable=False),
    Column("languages", ARRAY(Text), nullable=False),
    Column("lengths", ARRAY(Integer), nullable=False),
    Column("stage_time", _TIME, nullable=False),
)

postings = Table(
    "postings",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("segment_id", BigInteger, primary_key=True),
    Column("term", Text, primary_key=True),
    Column("postings", LargeBinary, nullable=False),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("chunk_no", Integer, primary_key=True),
    Column("bury_time", _TIME, nullable=False, server_default=FetchedValue()),
)

vocabulary = Table(
    "vocabulary",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("word", Text, primary_key=True),
    Column("audience_id", Integer, primary_key=True),
    Column("passages", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
)

early_changes = Table(
    "early_changes",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("document_id", UUID, primary_key=True),
    Column("change_time", _TIME, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("tags", ARRAY(Text), nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("everyone", Boolean, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("members", ARRAY(UUID), nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("model_id", UUID, primary_key=True),
    Column("embedder", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("fitted_chunks", Integer, nullable=False),
    Column("next_chunk_no", Integer, nullable=False),
    Column("end_chunk_no", Integer, nullable=False),
    Column("approximate", Boolean, nullable=False),
    Column("vector_count", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("prune_time", _TIME, nullable=False),
    Column("graph_time", _TIME),
)

model_parts = Table(
    "model_parts",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("model_id", UUID, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

vectors = Table(
    "vectors",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("model_id", UUID, primary_key=True),
    Column("doc_no", Integer, primary_key=True),
    Column("chunk_no", Integer, primary_key=True),
    Column("embedding", HALFVEC, nullable=False),
)

staged_vectors = Table(
    "staged_vectors",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("model_id", UUID, primary_key=True),
    Column("document_id", UUID, primary_key=True),
    Column("chunk_id", UUID, primary_key=True),
    Column("embedding", HALFVEC, nullable=False),
    Column("stage_time", _TIME, nullable=False),
)

queries = Table(
    "queries",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("query_id", UUID, primary_key=True),
    Column("query", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("corrected_query", Text, nullable=False),
    Column("hit_count", Integer, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("user_id", UUID, nullable=False),
    Column("create_time", _TIME, nullable=False),
)
