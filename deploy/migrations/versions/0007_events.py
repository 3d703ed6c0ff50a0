"""Events: webhook endpoints with their secrets and deliveries, replays; and its view of the log and of the jobs."""

import rls
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    rls.domain_schema("events")
    op.execute("""
        create table events.webhook_endpoints (
            workspace_id uuid not null,
            endpoint_id uuid not null,
            url text not null check (octet_length(url) between 1 and 2048),
            description text not null,
            types text[] not null,
            signature_scheme text not null check (signature_scheme in ('hmac_sha256', 'ed25519')),
            max_per_second integer not null check (max_per_second between 1 and 1000),
            payload_retention_days integer not null check (payload_retention_days between 1 and 90),
            creator_id uuid,
            state text not null check (state in ('active', 'failing', 'probing', 'disabled')),
            failures integer not null check (failures >= 0),
            failing_since timestamptz,
            probes integer not null check (probes >= 0),
            probe_time timestamptz,
            disable_time timestamptz,
            disable_reason text not null check (disable_reason in ('', 'manual', 'gone', 'failing')),
            last_success_time timestamptz,
            last_failure_time timestamptz,
            next_send_time timestamptz,
            version integer not null check (version > 0),
            create_time timestamptz not null,
            update_time timestamptz not null,
            primary key (workspace_id, endpoint_id),
            check ((state = 'disabled') = (disable_reason <> ''))
        )""")
    op.execute("""
        create table events.webhook_secrets (
            workspace_id uuid not null,
            endpoint_id uuid not null,
            secret_id uuid not null,
            sealed bytea not null,
            public_key text not null,
            create_time timestamptz not null,
            expire_time timestamptz,
            primary key (workspace_id, endpoint_id, secret_id),
            foreign key (workspace_id, endpoint_id) references events.webhook_endpoints on delete cascade
        )""")
    # One secret an endpoint has no end: the current one.
    op.execute(
        "create unique index webhook_secrets_current on events.webhook_secrets (workspace_id, endpoint_id)"
        " where expire_time is null"
    )
    op.execute("create index on events.webhook_secrets (expire_time) where expire_time is not null")
    op.execute("""
        create table events.webhook_deliveries (
            workspace_id uuid not null,
            endpoint_id uuid not null,
            delivery_id uuid not null,
            event_id uuid not null,
            event_type text not null,
            trigger text not null check (trigger in ('event', 'replay', 'recovery', 'test')),
            state text not null check (state in ('pending', 'waiting', 'delivered', 'failed', 'cancelled')),
            attempt_count integer not null check (attempt_count >= 0),
            round integer not null check (round > 0),
            round_attempts integer not null check (round_attempts between 0 and attempt_count),
            next_attempt_time timestamptz,
            reserved_time timestamptz,
            payload bytea,
            last_error text not null,
            create_time timestamptz not null,
            end_time timestamptz,
            primary key (workspace_id, endpoint_id, delivery_id),
            unique (workspace_id, endpoint_id, event_id),
            foreign key (workspace_id, endpoint_id) references events.webhook_endpoints on delete cascade,
            check ((end_time is null) = (state in ('pending', 'waiting')))
        )""")
    op.execute("create index on events.webhook_deliveries (workspace_id, endpoint_id, state, delivery_id)")
    op.execute("create index on events.webhook_deliveries (end_time) where end_time is not null")
    op.execute(
        "create index on events.webhook_deliveries (end_time) where end_time is not null and payload is not null"
    )
    op.execute("""
        create table events.webhook_attempts (
            workspace_id uuid not null,
            endpoint_id uuid not null,
            delivery_id uuid not null,
            number integer not null check (number > 0),
            time timestamptz not null,
            latency_ms integer not null check (latency_ms >= 0),
            address text not null,
            request_headers jsonb not null,
            status integer,
            response_headers jsonb not null,
            response_body bytea not null,
            failure text not null,
            error text not null,
            primary key (workspace_id, endpoint_id, delivery_id, number),
            foreign key (workspace_id, endpoint_id, delivery_id) references events.webhook_deliveries on delete cascade
        )""")
    op.execute("""
        create table events.replays (
            workspace_id uuid not null,
            replay_id uuid not null,
            endpoint_id uuid,
            subscriber text not null,
            trigger text not null check (trigger in ('replay', 'recovery')),
            since timestamptz not null,
            until timestamptz not null,
            types text[] not null,
            position bigint not null,
            last_position bigint not null,
            replayed integer not null,
            create_time timestamptz not null,
            primary key (workspace_id, replay_id),
            foreign key (workspace_id, endpoint_id) references events.webhook_endpoints on delete cascade,
            check ((endpoint_id is null) <> (subscriber = ''))
        )""")
    op.execute("create index on events.replays (workspace_id, endpoint_id) where endpoint_id is not null")
    op.execute("create index on events.replays (create_time)")
    for table in ("webhook_endpoints", "webhook_secrets", "webhook_deliveries", "webhook_attempts", "replays"):
        rls.tenant_table(f"events.{table}")

    # The system role brings secrets under the current master key, and deletes what is no longer kept; for that it looks
    # at each endpoint's retention. With a delivery go its attempts.
    rls.system_policy("events.webhook_endpoints", "select")
    rls.system_policy("events.webhook_secrets", "select, update, delete")
    rls.system_policy("events.webhook_deliveries", "select, update, delete")
    rls.system_policy("events.webhook_attempts", "select, update")
    rls.system_policy("events.replays", "select, delete")

    rls.log_reader("events")
    rls.subscriber("events")
    rls.jobs_share("events", manage=True)
    # Whoever replays names a subscriber, of whichever domain.
    op.execute("create policy names on kernel.cursors for select to plinth_events using (true)")


def downgrade() -> None:
    rls.drop_domain_schema("events")
