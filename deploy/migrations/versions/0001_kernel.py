"""The kernel: what every domain appends to in its own commits, and the login of the app."""

import rls
from alembic import op

revision = "0001"
down_revision = None

_OWNER = "split_part(current_user::text, '_', 2)"


def upgrade() -> None:
    op.execute("create schema kernel")
    rls.role("plinth_app", "login")
    op.execute("alter role plinth_app set transaction_timeout = '60s'")
    rls.role("plinth_kernel")
    op.execute("grant plinth_kernel to plinth_app with inherit false, set true")
    op.execute("grant usage on schema kernel to plinth_kernel")
    # Of no use to the login itself; but what it holds here keeps another database's downgrade from dropping it.
    op.execute("grant usage on schema kernel to plinth_app")
    # Foreign keys are checked as the table's owner, who sees rows past RLS; nobody else may make objects here.
    op.execute("revoke create on schema public from public")

    op.execute("""
        create table kernel.outbox (
            sequence bigint generated always as identity primary key,
            id uuid not null unique,
            workspace_id uuid,
            type text not null,
            source text not null,
            subject text not null,
            time timestamptz not null,
            data_schema text not null,
            data bytea not null,
            actor text not null,
            traceparent text not null
        )""")
    op.execute("""
        create table kernel.audit (
            id uuid primary key,
            workspace_id uuid,
            time timestamptz not null,
            actor_type text not null,
            actor text not null,
            user_id uuid,
            action text not null,
            resource text not null,
            detail jsonb not null,
            source text not null,
            user_agent text not null,
            request_id text not null,
            trace_id text not null
        )""")
    op.execute("create index on kernel.audit (workspace_id, id)")
    op.execute("create index on kernel.audit (workspace_id, actor, id)")
    op.execute("create index on kernel.audit (workspace_id, action, id)")
    op.execute("create index on kernel.audit (workspace_id, resource, id)")
    op.execute("create index on kernel.audit (user_id, id)")
    op.execute("""
        create table kernel.mail (
            id uuid primary key,
            kind text not null,
            recipient text not null,
            subject text not null,
            body bytea,
            create_time timestamptz not null,
            next_attempt_time timestamptz,
            attempts integer not null default 0,
            send_time timestamptz,
            last_error text not null default ''
        )""")
    op.execute("create index on kernel.mail (next_attempt_time) where next_attempt_time is not null")
    op.execute(f"""
        create table kernel.idempotency (
            principal text not null,
            workspace_id uuid not null,
            method text not null,
            request_id text not null,
            owner text not null default {_OWNER},
            payload_hash bytea not null,
            answer bytea,
            create_time timestamptz not null,
            primary key (principal, workspace_id, method, request_id)
        )""")
    op.execute("create index on kernel.idempotency (create_time)")

    for table in ("outbox", "audit", "mail", "idempotency"):
        op.execute(f"alter table kernel.{table} enable row level security")
        op.execute(f"alter table kernel.{table} force row level security")
        op.execute(f"create policy kernel on kernel.{table} to plinth_kernel using (true)")
    # A session inside a workspace appends to that workspace only; a user's or a system session states which.
    for table in ("outbox", "audit"):
        op.execute(
            f"create policy append on kernel.{table} for insert"
            f" with check ({rls.WORKSPACE} is null or workspace_id is not distinct from {rls.WORKSPACE})"
        )
    op.execute("create policy append on kernel.mail for insert with check (true)")
    op.execute(f"create policy own on kernel.idempotency using (owner = {_OWNER})")
    op.execute("grant select, update, delete on kernel.mail to plinth_kernel")
    op.execute("grant select, delete on kernel.idempotency to plinth_kernel")


def downgrade() -> None:
    op.execute("drop schema kernel cascade")
    rls.drop_role("plinth_kernel")
    rls.drop_role("plinth_app")
    op.execute("grant create on schema public to public")
