"""Documents: files with their versions, uploads in parts, the blobs that hold the bytes, and ingestions."""

import rls
from alembic import op

revision = "0009"
down_revision = "0008"

_STATES = (
    "('received', 'scanned', 'parsed', 'chunked', 'embedded', 'indexed', 'failed_retrying', 'dead', 'cancelled',"
    " 'completed_with_warnings')"
)
_VISIBILITIES = "('everyone', 'roles', 'members')"


def upgrade() -> None:
    rls.domain_schema("documents")
    # Names sort and compare byte by byte, whatever the collation of the database.
    op.execute(f"""
        create table documents.documents (
            workspace_id uuid not null,
            document_id uuid not null,
            display_name text collate "C" not null,
            tags text[] not null,
            metadata jsonb not null,
            visibility text not null check (visibility in {_VISIBILITIES}),
            visible_roles text[] not null,
            visible_members uuid[] not null,
            author_id uuid not null,
            media_type text not null,
            size_bytes bigint not null,
            sha256 text not null,
            current_version integer not null,
            indexed_version integer not null,
            language text not null,
            page_count integer not null,
            ingestion_id uuid,
            ingestion_state text not null check (ingestion_state in {_STATES}),
            version integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            primary key (workspace_id, document_id)
        )""")
    op.execute("create unique index documents_display_name on documents.documents (workspace_id, display_name)")
    op.execute("create index on documents.documents (workspace_id, create_time, document_id)")
    op.execute("create index on documents.documents (workspace_id, update_time, document_id)")
    op.execute("create index on documents.documents (workspace_id, size_bytes, document_id)")
    # A blob's row is there before its bytes, and goes after them: so what lies in the store is always known.
    op.execute("""
        create table documents.blobs (
            workspace_id uuid not null,
            blob_id uuid not null,
            state text not null check (state in ('writing', 'live', 'doomed')),
            create_time timestamptz not null,
            primary key (workspace_id, blob_id)
        )""")
    # For the collector, which goes from each batch to the next by name, and for what nobody has kept.
    op.execute("create index on documents.blobs (workspace_id, blob_id) where state = 'doomed'")
    op.execute("create index on documents.blobs (create_time) where state = 'writing'")
    op.execute("""
        create table documents.versions (
            workspace_id uuid not null,
            document_id uuid not null,
            version integer not null,
            blob_id uuid not null,
            media_type text not null,
            size_bytes bigint not null,
            sha256 text not null,
            author_id uuid not null,
            create_time timestamptz not null,
            primary key (workspace_id, document_id, version),
            foreign key (workspace_id, document_id) references documents.documents on delete cascade,
            foreign key (workspace_id, blob_id) references documents.blobs
        )""")
    op.execute("create index on documents.versions (workspace_id, blob_id)")
    # An upload without a visibility takes that of the document whose next version it becomes.
    op.execute(f"""
        create table documents.uploads (
            workspace_id uuid not null,
            upload_id uuid not null,
            display_name text not null,
            tags text[] not null,
            metadata jsonb not null,
            visibility text check (visibility in {_VISIBILITIES}),
            visible_roles text[] not null,
            visible_members uuid[] not null,
            size_bytes bigint not null,
            received_bytes bigint not null,
            author_id uuid not null,
            create_time timestamptz not null,
            expire_time timestamptz not null,
            primary key (workspace_id, upload_id)
        )""")
    op.execute("create index on documents.uploads (expire_time)")
    op.execute("create index on documents.uploads (workspace_id, author_id)")
    op.execute("""
        create table documents.upload_parts (
            workspace_id uuid not null,
            upload_id uuid not null,
            start_byte bigint not null,
            sha256 text not null,
            blob_id uuid not null,
            primary key (workspace_id, upload_id, start_byte),
            foreign key (workspace_id, upload_id) references documents.uploads on delete cascade,
            foreign key (workspace_id, blob_id) references documents.blobs
        )""")
    op.execute("create index on documents.upload_parts (workspace_id, blob_id)")
    # `run` counts how often it was begun again, `attempts` is a list of objects, the oldest first. `parsed_blob_id` is
    # what the parser found, for later stages.
    op.execute(f"""
        create table documents.ingestions (
            workspace_id uuid not null,
            ingestion_id uuid not null,
            document_id uuid not null,
            document_version integer not null,
            run integer not null,
            state text not null check (state in {_STATES}),
            stage text not null check (stage in ('received', 'scanned', 'parsed', 'chunked', 'embedded', 'indexed')),
            reason text not null,
            message text not null,
            warnings text[] not null,
            language text not null,
            page_count integer not null,
            chunk_count integer not null,
            progress_done integer not null,
            progress_total integer not null,
            attempts jsonb not null,
            tries integer not null,
            outages integer not null,
            outage_time timestamptz,
            parsed_blob_id uuid,
            retry_time timestamptz,
            create_time timestamptz not null,
            update_time timestamptz not null,
            end_time timestamptz,
            primary key (workspace_id, ingestion_id),
            foreign key (workspace_id, document_id) references documents.documents on delete cascade,
            foreign key (workspace_id, parsed_blob_id) references documents.blobs
        )""")
    op.execute("create index on documents.ingestions (workspace_id, create_time, ingestion_id)")
    op.execute("create index on documents.ingestions (workspace_id, document_id, create_time)")
    op.execute("create index on documents.ingestions (workspace_id, end_time) where state = 'dead'")
    op.execute("create index on documents.ingestions (update_time) where end_time is null")
    op.execute("create index on documents.ingestions (workspace_id, parsed_blob_id) where parsed_blob_id is not null")

    # What a workspace stores, changed in the commits that change it. `purge_time` is there once the workspace is gone:
    # nothing is taken for it any more, and the rest is deleted in batches.
    op.execute("""
        create table documents.usage (
            workspace_id uuid not null primary key,
            documents bigint not null,
            version_bytes bigint not null,
            upload_bytes bigint not null,
            purge_time timestamptz
        )""")
    op.execute("create index on documents.usage (purge_time) where purge_time is not null")

    for table in ("documents", "blobs", "versions", "uploads", "upload_parts", "ingestions", "usage"):
        rls.tenant_table(f"documents.{table}")
    # The system role collects blobs, drops uploads whose time is over, and finds ingestions that nobody works on, and
    # what is left of purged workspaces.
    # To lock a row takes the right to update it.
    rls.system_policy("documents.blobs", "select, update, delete")
    rls.system_policy("documents.uploads", "select, update, delete")
    rls.system_policy("documents.upload_parts", "select")
    rls.system_policy("documents.versions", "select")
    rls.system_policy("documents.usage", "select, update, delete")
    rls.system_policy("documents.ingestions", "select")
    rls.subscriber("documents")
    rls.log_reader("documents")
    rls.jobs_share("documents")


def downgrade() -> None:
    rls.drop_domain_schema("documents")
