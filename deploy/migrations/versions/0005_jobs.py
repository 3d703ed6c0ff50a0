"""Durable jobs: one row a job, its way through the queue in the row's state, and who of the workers sleeps."""

import rls
from alembic import op

revision = "0005"
down_revision = "0004"

_LIVE = "('arrived', 'scheduled', 'waiting', 'ready', 'running')"


def upgrade() -> None:
    op.execute("create schema jobs")
    rls.role("plinth_jobs_system")
    op.execute("grant plinth_jobs_system to plinth_app with inherit false, set true")
    op.execute("grant usage on schema jobs to plinth_jobs_system")

    # A lane is a workspace, or the system: a key must not be null, and a session of the system looks past workspaces.
    # Every row that waits was moved to where it is by the gate (services/kernel/jobs/gate.py), which alone gives turns.
    op.execute("create sequence jobs.turns")
    op.execute(f"""
        create table jobs.jobs (
            id uuid not null,
            workspace_id uuid,
            lane uuid not null
                generated always as (coalesce(workspace_id, '00000000-0000-0000-0000-000000000000'::uuid)) stored,
            queue text not null,
            kind text not null,
            subject text not null,
            payload bytea not null,
            rank smallint not null check (rank between -2 and 2),
            state text not null default 'arrived'
                check (state in ('succeeded', 'dead', 'cancelled', 'discarded') or state in {_LIVE}),
            arrival xid8 not null default pg_current_xact_id(),
            turn bigint,
            unique_key text,
            attempt integer not null default 0,
            max_attempts integer not null,
            fence bigint not null default 0,
            worker text not null default '',
            cancel_requested boolean not null default false,
            dead_reason text not null default '',
            last_error text not null default '',
            actor text not null,
            traceparent text not null,
            create_time timestamptz not null,
            run_time timestamptz not null,
            lease_time timestamptz,
            start_time timestamptz,
            end_time timestamptz,
            expire_time timestamptz,
            primary key (lane, id)
        )""")
    op.execute("create index jobs_arrived on jobs.jobs (queue, arrival) where state = 'arrived'")
    op.execute("create index jobs_scheduled on jobs.jobs (queue, run_time) where state = 'scheduled'")
    op.execute("create index jobs_waiting on jobs.jobs (queue, lane, rank, id) where state = 'waiting'")
    op.execute("create index jobs_ready on jobs.jobs (queue, rank, turn) where state = 'ready'")
    op.execute("create index jobs_lanes on jobs.jobs (queue, rank, lane, turn) where state = 'ready'")
    op.execute("create index jobs_running on jobs.jobs (queue, lease_time) where state = 'running'")
    op.execute("create index jobs_dead on jobs.jobs (lane, id) where state = 'dead'")
    op.execute("create index jobs_kept on jobs.jobs (expire_time) where expire_time is not null")
    op.execute(
        "create unique index jobs_unique_key on jobs.jobs (lane, kind, unique_key)"
        f" where unique_key is not null and state in {_LIVE}"
    )
    # Rows live for moments, and each is written three times.
    op.execute("alter table jobs.jobs set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 20000)")

    op.execute("""
        create table jobs.schedules (
            name text primary key,
            schedule text not null,
            next_time timestamptz not null
        )""")
    # A row is added for each sleep, with the time when the sleeper looks by itself: what is past is never read again.
    op.execute("""
        create table jobs.sleepers (
            queue text not null,
            until timestamptz not null,
            worker text not null,
            primary key (queue, until, worker)
        )""")
    for table in ("jobs", "schedules", "sleepers"):
        op.execute(f"alter table jobs.{table} enable row level security")
        op.execute(f"alter table jobs.{table} force row level security")
        op.execute(f"grant select, insert, update, delete on jobs.{table} to plinth_jobs_system")
        op.execute(f"create policy system on jobs.{table} to plinth_jobs_system using (true)")
    op.execute("grant usage, select on sequence jobs.turns to plinth_jobs_system")
    # A session inside a workspace enqueues for that workspace only; a user's or a system session states which.
    op.execute(
        "create policy enqueue on jobs.jobs for insert"
        f" with check ({rls.WORKSPACE} is null or workspace_id is not distinct from {rls.WORKSPACE})"
    )
    op.execute("create policy look on jobs.sleepers for select using (true)")

    # PostgreSQL tells each listener once a transaction, however many jobs it brings, and nobody where nobody sleeps.
    op.execute("""
        create function jobs.wake() returns trigger language plpgsql as $$
        begin
            if exists (select from jobs.sleepers where until > clock_timestamp()) then
                perform pg_notify('plinth_jobs', arrived.queue)
                from (select distinct queue from added) arrived
                where exists (
                    select from jobs.sleepers s where s.queue = arrived.queue and s.until > clock_timestamp()
                );
            end if;
            return null;
        end $$""")
    op.execute(
        "create trigger wake after insert on jobs.jobs referencing new table as added"
        " for each statement execute function jobs.wake()"
    )
    for domain in ("identity", "tenancy"):
        rls.jobs_share(domain)


def downgrade() -> None:
    op.execute("drop schema jobs cascade")
    rls.drop_role("plinth_jobs_system")
