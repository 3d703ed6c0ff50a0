"""Search: what documents are found by: passages, postings, vocabulary, vectors, and the log of queries."""

import rls
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("create extension if not exists vector")
    rls.domain_schema("search")
    # One row a workspace, held by whoever publishes. `revision` grows with all that readers could see. Passages from
    # `rebuilt_no` below `rebuild_end` wait to be read anew; the vocabulary counts the others, `generation` says how
    # often all was read anew. `languages` says how many passages are in each. Of a purged workspace the row stays for
    # a while, so that nobody makes another one.
    op.execute("""
        create table search.indexes (
            workspace_id uuid not null,
            embedder text not null check (embedder in ('lsa', 'openai', 'local', 'none')),
            log_queries boolean not null,
            revision bigint not null,
            next_doc_no integer not null,
            next_chunk_no integer not null,
            next_segment_id bigint not null,
            next_audience_id integer not null,
            document_count integer not null,
            chunk_count integer not null,
            term_count bigint not null,
            languages jsonb not null,
            rebuilding boolean not null,
            rebuilt_no integer not null,
            rebuild_end integer not null,
            generation integer not null,
            version integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            purge_time timestamptz,
            primary key (workspace_id)
        )""")
    op.execute("create index on search.indexes (purge_time) where purge_time is not null")
    # Who may see some documents: one row for each distinct visibility; 0 is everyone, and has no row.
    op.execute("""
        create table search.audiences (
            workspace_id uuid not null,
            audience_id integer not null,
            roles text[] not null,
            members uuid[] not null,
            primary key (workspace_id, audience_id),
            unique (workspace_id, roles, members)
        )""")
    op.execute("""
        create table search.documents (
            workspace_id uuid not null,
            document_id uuid not null,
            doc_no integer not null,
            document_version integer not null,
            revision integer not null,
            audience_id integer not null,
            display_name text collate "C" not null,
            media_type text not null,
            language text not null,
            tags text[] not null,
            metadata jsonb not null,
            author_id uuid not null,
            chunk_count integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            folded_name text collate "C" not null generated always as (lower(display_name collate "pg_c_utf8")) stored,
            primary key (workspace_id, document_id),
            unique (workspace_id, doc_no)
        )""")
    # On columns: under row-level security no index on an expression is used whose function is not leakproof.
    op.execute("create index on search.documents (workspace_id, folded_name)")
    op.execute("create index on search.documents (workspace_id, audience_id)")
    # Passages that wait to be published, and those that are: `chunk_no` is never used again. `counted_for` is the
    # audience in whose vocabulary the words are counted; null: in none yet.
    op.execute("""
        create table search.staged_chunks (
            workspace_id uuid not null,
            document_id uuid not null,
            document_version integer not null,
            ordinal integer not null,
            chunk_id uuid not null,
            text text not null,
            headings text[] not null,
            page integer not null,
            start_offset integer not null,
            end_offset integer not null,
            language text not null,
            stage_time timestamptz not null,
            primary key (workspace_id, document_id, document_version, ordinal)
        )""")
    op.execute("create index on search.staged_chunks (stage_time)")
    op.execute("""
        create table search.chunks (
            workspace_id uuid not null,
            chunk_no integer not null,
            chunk_id uuid not null,
            document_id uuid not null,
            ordinal integer not null,
            length integer not null,
            text text not null,
            headings text[] not null,
            page integer not null,
            start_offset integer not null,
            end_offset integer not null,
            language text not null,
            counted_for integer,
            primary key (workspace_id, chunk_no),
            unique (workspace_id, chunk_id),
            foreign key (workspace_id, document_id) references search.documents on delete cascade
        )""")
    op.execute("create index on search.chunks (workspace_id, document_id, ordinal)")
    # Passages that are gone, while their words are counted still.
    op.execute("""
        create table search.removed_chunks (
            workspace_id uuid not null,
            document_id uuid not null,
            chunk_no integer not null,
            text text not null,
            headings text[] not null,
            language text not null,
            counted_for integer not null,
            generation integer not null,
            primary key (workspace_id, document_id, chunk_no)
        )""")
    # Documents of which passages are still to be counted, or are gone while they are counted still.
    op.execute("""
        create table search.recounts (
            workspace_id uuid not null,
            document_id uuid not null,
            ask_time timestamptz not null default now(),
            primary key (workspace_id, document_id)
        )""")
    op.execute("create index on search.recounts (ask_time)")
    # Segments of postings, which are written once, and read while they are live; the others are being made of them,
    # wait for the rest of a rebuild, or are being taken away; staged ones wait to be published, with numbers from 0.
    # `doc_nos` has an int32 for each number from `first_chunk_no` on; -1: the segment has it not. Postings count from
    # there, too.
    op.execute("""
        create table search.segments (
            workspace_id uuid not null,
            segment_id bigint not null,
            level smallint not null,
            first_chunk_no integer not null,
            last_chunk_no integer not null,
            chunk_count integer not null,
            state text not null check (state in ('staged', 'building', 'built', 'live', 'retired')),
            doc_nos bytea not null,
            primary key (workspace_id, segment_id)
        )""")
    op.execute("create index on search.segments (workspace_id) where state in ('building', 'retired')")
    # The passages of segments that wait to be published, in the order of their numbers.
    op.execute("""
        create table search.staged_segments (
            workspace_id uuid not null,
            segment_id bigint not null,
            document_id uuid not null,
            document_version integer not null,
            chunk_ids uuid[] not null,
            languages text[] not null,
            lengths integer[] not null,
            stage_time timestamptz not null,
            primary key (workspace_id, segment_id)
        )""")
    op.execute("create index on search.staged_segments (workspace_id, document_id)")
    op.execute("create index on search.staged_segments (stage_time)")
    # No foreign key: it would be checked for each term. Segments are deleted after their postings.
    op.execute("""
        create table search.postings (
            workspace_id uuid not null,
            segment_id bigint not null,
            term text collate "C" not null,
            postings bytea not null,
            primary key (workspace_id, segment_id, term)
        )""")
    op.execute("alter table search.postings alter column postings set storage external")
    # Numbers that are in segments still, and in no passage any more.
    op.execute("""
        create table search.tombstones (
            workspace_id uuid not null,
            chunk_no integer not null,
            bury_time timestamptz not null default now(),
            primary key (workspace_id, chunk_no)
        )""")
    op.execute("create index on search.tombstones (bury_time)")
    # Words as they are written, to complete and to correct what is typed; counted in passages of each audience.
    op.execute("""
        create table search.vocabulary (
            workspace_id uuid not null,
            word text collate "C" not null,
            audience_id integer not null,
            passages integer not null,
            generation integer not null,
            letters smallint not null generated always as (length(word)) stored,
            primary key (workspace_id, word, audience_id)
        ) with (fillfactor = 70)""")
    op.execute("create index on search.vocabulary (workspace_id, letters)")
    # What became of documents that are not here: a publish that is under way still must not undo it.
    op.execute("""
        create table search.early_changes (
            workspace_id uuid not null,
            document_id uuid not null,
            change_time timestamptz not null,
            revision integer not null,
            deleted boolean not null,
            display_name text not null,
            tags text[] not null,
            metadata jsonb not null,
            everyone boolean not null,
            roles text[] not null,
            members uuid[] not null,
            primary key (workspace_id, document_id)
        )""")
    op.execute("create index on search.early_changes (change_time)")
    # Versions of an embedder. `dimensions` is 0 until it is known. Passages below `next_chunk_no` have their vectors;
    # those up to `end_chunk_no` get them from a job; those from there on got them as they were published. A void one
    # could learn nothing of so many passages.
    op.execute("""
        create table search.models (
            workspace_id uuid not null,
            model_id uuid not null,
            embedder text not null check (embedder in ('lsa', 'openai', 'local')),
            model text not null,
            dimensions integer not null,
            state text not null check (state in ('building', 'live', 'retired', 'void')),
            fitted_chunks integer not null,
            next_chunk_no integer not null,
            end_chunk_no integer not null,
            approximate boolean not null,
            vector_count integer not null,
            create_time timestamptz not null,
            prune_time timestamptz not null,
            graph_time timestamptz,
            primary key (workspace_id, model_id)
        )""")
    op.execute("create index on search.models (prune_time)")
    op.execute("create unique index models_live on search.models (workspace_id) where state = 'live'")
    op.execute("create unique index models_building on search.models (workspace_id) where state = 'building'")
    op.execute("""
        create table search.model_parts (
            workspace_id uuid not null,
            model_id uuid not null,
            part integer not null,
            data bytea not null,
            primary key (workspace_id, model_id, part),
            foreign key (workspace_id, model_id) references search.models on delete cascade
        )""")
    op.execute("alter table search.model_parts alter column data set storage external")
    # Vectors of one model have one length; an HNSW graph of a large workspace is a partial index on its model. By
    # document, so that a filter that leaves few documents reads few rows. In the row: read one by one, they are slow.
    op.execute("""
        create table search.vectors (
            workspace_id uuid not null,
            model_id uuid not null,
            doc_no integer not null,
            chunk_no integer not null,
            embedding halfvec not null,
            primary key (workspace_id, model_id, doc_no, chunk_no),
            foreign key (workspace_id, model_id) references search.models on delete cascade
        )""")
    op.execute("alter table search.vectors alter column embedding set storage plain")
    # Vectors of staged passages that do not come from the workspace itself: they are paid for, so kept until published.
    op.execute("""
        create table search.staged_vectors (
            workspace_id uuid not null,
            model_id uuid not null,
            document_id uuid not null,
            chunk_id uuid not null,
            embedding halfvec not null,
            stage_time timestamptz not null,
            primary key (workspace_id, model_id, document_id, chunk_id),
            foreign key (workspace_id, model_id) references search.models on delete cascade
        )""")
    op.execute("create index on search.staged_vectors (stage_time)")
    op.execute("""
        create table search.queries (
            workspace_id uuid not null,
            query_id uuid not null,
            query text not null,
            mode text not null,
            filter text not null,
            corrected_query text not null,
            hit_count integer not null,
            milliseconds integer not null,
            user_id uuid not null,
            create_time timestamptz not null,
            primary key (workspace_id, query_id)
        )""")
    op.execute("create index on search.queries (create_time)")

    for table in (
        "indexes",
        "audiences",
        "documents",
        "staged_chunks",
        "chunks",
        "removed_chunks",
        "recounts",
        "segments",
        "staged_segments",
        "postings",
        "tombstones",
        "vocabulary",
        "early_changes",
        "models",
        "model_parts",
        "vectors",
        "staged_vectors",
        "queries",
    ):
        rls.tenant_table(f"search.{table}")
    # The system role drops what was never published and queries that are kept no longer, and finds indexes to look
    # after.
    rls.system_policy("search.indexes", "select")
    rls.system_policy("search.tombstones", "select")
    rls.system_policy("search.recounts", "select")
    rls.system_policy("search.segments", "select")
    rls.system_policy("search.models", "select")
    rls.system_policy("search.staged_chunks", "select, delete")
    rls.system_policy("search.staged_segments", "select")
    rls.system_policy("search.staged_vectors", "select, delete")
    rls.system_policy("search.early_changes", "select, delete")
    rls.system_policy("search.queries", "select, delete")
    rls.subscriber("search")
    rls.log_reader("search")
    rls.jobs_share("search")
    # The maintenance makes and drops HNSW graphs, for which it has to own the table.
    op.execute("grant usage, create on schema search to plinth_maintenance")
    op.execute("alter table search.vectors owner to plinth_maintenance")


def downgrade() -> None:
    op.execute("alter table search.vectors owner to current_user")
    rls.drop_domain_schema("search")
    op.execute("drop extension vector")
