"""The event log: what the sequencer moves committed events to, who has read how far, and which days are kept."""

import rls
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # The sequencer alone takes events out of the outbox; the maintenance makes and drops the log's days.
    for name in ("plinth_sequencer", "plinth_maintenance"):
        rls.role(name)
        op.execute(f"grant {name} to plinth_app with inherit false, set true")
        op.execute(f"grant usage on schema kernel to {name}")
    op.execute("grant create on schema kernel to plinth_maintenance")

    op.execute("""
        create table kernel.event_log (
            position bigint not null,
            log_time timestamptz not null,
            id uuid not null,
            workspace_id uuid,
            type text not null,
            source text not null,
            subject text not null,
            time timestamptz not null,
            data_schema text not null,
            data bytea not null,
            actor text not null,
            traceparent text not null,
            primary key (position, log_time)
        ) partition by range (log_time)""")
    op.execute("create index on kernel.event_log (workspace_id, position)")
    op.execute("create index on kernel.event_log (workspace_id, id)")
    # One row: the last position that is no longer kept.
    op.execute("""
        create table kernel.event_retention (
            single boolean primary key default true check (single),
            dropped bigint not null default 0
        )""")
    op.execute("insert into kernel.event_retention default values")
    op.execute("""
        create table kernel.event_days (
            begin_time timestamptz primary key,
            first_position bigint not null
        )""")
    op.execute("""
        create table kernel.cursors (
            subscriber text primary key,
            position bigint not null,
            update_time timestamptz not null
        )""")
    for table in ("event_log", "event_retention", "event_days", "cursors"):
        op.execute(f"alter table kernel.{table} enable row level security")
        op.execute(f"alter table kernel.{table} force row level security")

    op.execute("create policy all_rows on kernel.event_retention using (true)")
    op.execute("create policy all_rows on kernel.event_days using (true)")

    op.execute("grant select, delete on kernel.outbox to plinth_sequencer")
    op.execute("create policy move on kernel.outbox to plinth_sequencer using (true)")
    op.execute("grant select, insert on kernel.event_log to plinth_sequencer")
    op.execute("create policy move on kernel.event_log to plinth_sequencer using (true)")
    op.execute("grant select on kernel.event_retention to plinth_sequencer")
    op.execute("grant select, insert on kernel.event_days to plinth_sequencer")

    # The system reads all of the log; a session of it that states a workspace reads that workspace's rows.
    op.execute("grant select on kernel.outbox, kernel.event_log to plinth_kernel")
    op.execute("grant select on kernel.event_days, kernel.event_retention to plinth_kernel")
    op.execute(
        "create policy kernel on kernel.event_log for select to plinth_kernel"
        f" using ({rls.WORKSPACE} is null or workspace_id = {rls.WORKSPACE})"
    )
    op.execute("grant select, insert, update, delete on kernel.cursors to plinth_kernel")
    op.execute("create policy kernel on kernel.cursors to plinth_kernel using (true)")
    # `projects.activity` is a subscriber of the domain projects, whichever of its roles the session has.
    op.execute(
        "create policy own on kernel.cursors"
        " using (split_part(subscriber, '.', 1) = split_part(current_user::text, '_', 2))"
    )

    op.execute("grant select, update on kernel.event_retention to plinth_maintenance")
    op.execute("grant select, delete on kernel.event_days to plinth_maintenance")
    op.execute("grant select on kernel.cursors to plinth_maintenance")
    for table in ("event_log", "cursors"):
        op.execute(f"create policy maintenance on kernel.{table} for select to plinth_maintenance using (true)")
    op.execute("grant plinth_maintenance to current_user")
    op.execute("alter table kernel.event_log owner to plinth_maintenance")

    # Its rows live for milliseconds: without this, dead ones would pile up at the end where the sequencer reads.
    op.execute(
        "alter table kernel.outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000)"
    )
    for domain in ("identity", "tenancy"):
        rls.subscriber(domain)


def downgrade() -> None:
    op.execute("alter table kernel.outbox reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)")
    op.execute("drop policy move on kernel.outbox")
    op.execute("revoke select on kernel.outbox from plinth_kernel")
    op.execute("drop table kernel.event_log, kernel.event_retention, kernel.event_days, kernel.cursors")
    rls.drop_role("plinth_maintenance")
    rls.drop_role("plinth_sequencer")
