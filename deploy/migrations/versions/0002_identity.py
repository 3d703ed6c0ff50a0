"""Identity: users, what they prove themselves with, sessions, and keys."""

import rls
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    rls.domain_schema("identity")

    op.execute("""
        create table identity.users (
            id uuid primary key,
            email text not null check (octet_length(email) <= 254),
            email_key text not null unique,
            email_verified boolean not null,
            display_name text not null check (char_length(display_name) <= 100),
            version integer not null check (version > 0),
            create_time timestamptz not null,
            update_time timestamptz not null
        )""")
    rls.protect("identity.users")
    rls.user_policy("identity.users", column="id")
    rls.system_policy("identity.users", "select")

    op.execute("""
        create table identity.passwords (
            user_id uuid primary key references identity.users on delete cascade,
            hash text not null,
            update_time timestamptz not null
        )""")
    rls.protect("identity.passwords")
    rls.user_policy("identity.passwords")
    rls.system_policy("identity.passwords", "select")

    op.execute("""
        create table identity.links (
            token_hash bytea primary key check (octet_length(token_hash) = 32),
            user_id uuid not null references identity.users on delete cascade,
            purpose text not null check (purpose in ('verify_email', 'reset_password', 'change_email')),
            email text not null,
            password_hash text,
            display_name text,
            create_time timestamptz not null,
            expire_time timestamptz not null,
            check (password_hash is null or purpose = 'verify_email')
        )""")
    op.execute("create index on identity.links (user_id, purpose)")
    rls.protect("identity.links")
    rls.user_policy("identity.links")
    rls.system_policy("identity.links", "select, delete")

    op.execute("""
        create table identity.sessions (
            id uuid primary key,
            user_id uuid not null references identity.users on delete cascade,
            refresh_key bytea not null,
            generation integer not null check (generation > 0),
            rotate_time timestamptz not null,
            user_agent text not null,
            source text not null,
            create_time timestamptz not null,
            last_used_time timestamptz not null,
            expire_time timestamptz not null,
            revoke_time timestamptz,
            revoke_reason text not null,
            check ((revoke_time is null) = (revoke_reason = ''))
        )""")
    op.execute("create index on identity.sessions (user_id, id)")
    rls.protect("identity.sessions")
    rls.user_policy("identity.sessions")
    rls.system_policy("identity.sessions", "select, update, delete")

    op.execute("""
        create table identity.known_sources (
            user_id uuid not null references identity.users on delete cascade,
            source text not null,
            create_time timestamptz not null,
            last_used_time timestamptz not null,
            primary key (user_id, source)
        )""")
    rls.protect("identity.known_sources")
    rls.user_policy("identity.known_sources")
    rls.system_policy("identity.known_sources", "select, delete")

    # No session of a user reaches the next three: nobody makes themselves an operator or clears a throttle.
    op.execute("""
        create table identity.operators (
            user_id uuid primary key references identity.users on delete cascade,
            create_time timestamptz not null
        )""")
    rls.protect("identity.operators", rights="references")
    rls.system_policy("identity.operators", "select, insert, delete")

    op.execute("""
        create table identity.throttles (
            key bytea primary key,
            level double precision not null,
            last_time timestamptz not null
        )""")
    rls.protect("identity.throttles", rights="references")
    rls.system_policy("identity.throttles", "select, insert, update, delete")

    op.execute("""
        create table identity.signing_keys (
            kid text primary key,
            state text not null check (state in ('next', 'active', 'retired')),
            public_jwk text not null,
            private_key bytea not null,
            create_time timestamptz not null,
            state_time timestamptz not null
        )""")
    op.execute("create unique index on identity.signing_keys (state) where state = 'active'")
    rls.protect("identity.signing_keys", rights="references")
    rls.system_policy("identity.signing_keys", "select, insert, update, delete")

    op.execute("""
        create table identity.api_keys (
            workspace_id uuid not null,
            id uuid not null,
            creator_id uuid not null,
            display_name text not null check (char_length(display_name) <= 100),
            prefix text not null,
            key_hash bytea not null unique check (octet_length(key_hash) = 32),
            permissions text[] not null,
            create_time timestamptz not null,
            expire_time timestamptz not null,
            last_used_time timestamptz,
            revoke_time timestamptz,
            primary key (workspace_id, id)
        )""")
    op.execute("create index on identity.api_keys (creator_id)")
    rls.tenant_table("identity.api_keys")
    # Outside of any workspace a user sees their own keys, to export them and to revoke them when the user goes.
    op.execute(
        "create policy own on identity.api_keys to plinth_identity"
        f" using ({rls.WORKSPACE} is null and creator_id = {rls.USER})"
    )
    rls.system_policy("identity.api_keys", "select, update")


def downgrade() -> None:
    rls.drop_domain_schema("identity")
