"""Tenancy: workspaces, members, roles, invites; and its view of the audit log."""

import rls
from alembic import op

revision = "0003"
down_revision = "0002"

_BUILT_IN = "('owner', 'admin', 'member', 'viewer')"


def upgrade() -> None:
    rls.domain_schema("tenancy")
    op.execute("""
        create table tenancy.workspaces (
            workspace_id uuid primary key,
            display_name text not null,
            version integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            delete_time timestamptz,
            purge_time timestamptz,
            check ((delete_time is null) = (purge_time is null))
        )""")
    op.execute("create index on tenancy.workspaces (purge_time) where purge_time is not null")
    op.execute("""
        create table tenancy.roles (
            workspace_id uuid not null references tenancy.workspaces on delete cascade,
            role_id uuid not null,
            display_name text not null,
            description text not null,
            permissions text[] not null,
            version integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            primary key (workspace_id, role_id)
        )""")
    op.execute("create unique index roles_display_name on tenancy.roles (workspace_id, lower(display_name))")
    op.execute(f"""
        create table tenancy.members (
            workspace_id uuid not null references tenancy.workspaces on delete cascade,
            user_id uuid not null,
            role text not null,
            custom_role_id uuid generated always as
                (case when role not in {_BUILT_IN} then role::uuid end) stored,
            version integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            primary key (workspace_id, user_id),
            constraint members_custom_role foreign key (workspace_id, custom_role_id) references tenancy.roles
        )""")
    op.execute("create index on tenancy.members (user_id, workspace_id)")
    op.execute("create index on tenancy.members (workspace_id, create_time, user_id)")
    op.execute("create index on tenancy.members (workspace_id, custom_role_id) where custom_role_id is not null")
    op.execute("create index on tenancy.members (workspace_id) where role = 'owner'")
    op.execute(f"""
        create table tenancy.invites (
            workspace_id uuid not null references tenancy.workspaces on delete cascade,
            invite_id uuid not null,
            email text not null check (email = lower(email)),
            role text not null,
            pending_role_id uuid generated always as
                (case when state = 'pending' and role not in {_BUILT_IN} then role::uuid end) stored,
            state text not null check (state in ('pending', 'accepted', 'declined', 'revoked', 'expired')),
            token_hash bytea not null unique,
            inviter_id uuid not null,
            expire_time timestamptz not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            primary key (workspace_id, invite_id),
            constraint invites_pending_role foreign key (workspace_id, pending_role_id) references tenancy.roles
        )""")
    op.execute(
        "create unique index invites_pending_email on tenancy.invites (workspace_id, email) where state = 'pending'"
    )
    op.execute("create index on tenancy.invites (workspace_id, pending_role_id) where pending_role_id is not null")

    for table in ("workspaces", "roles", "members", "invites"):
        rls.tenant_table(f"tenancy.{table}")

    # A user's own session, which has no workspace, lists the workspaces that the user is a member of. Asking for that
    # first keeps a tenant's session from looking any further.
    alone = f"{rls.WORKSPACE} is null"
    mine = f"select from tenancy.members m where m.user_id = {rls.USER} and m.workspace_id"
    op.execute(
        f"create policy own on tenancy.members for select to plinth_tenancy using ({alone} and user_id = {rls.USER})"
    )
    op.execute(
        "create policy own on tenancy.workspaces for select to plinth_tenancy"
        f" using ({alone} and exists ({mine} = workspaces.workspace_id))"
    )
    op.execute(
        "create policy own on tenancy.roles for select to plinth_tenancy"
        f" using ({alone} and exists ({mine} = roles.workspace_id and m.custom_role_id = roles.role_id))"
    )

    # The system role finds an invite by its token's hash, removes a user from every workspace under its lock, and
    # deletes what is no longer kept: with a workspace go its members, roles and invites.
    rls.system_policy("tenancy.invites", "select, delete")
    rls.system_policy("tenancy.members", "select, delete")
    rls.system_policy("tenancy.workspaces", "select, update, delete")

    op.execute("grant select on kernel.audit to plinth_tenancy")
    op.execute(
        f"create policy tenant on kernel.audit for select to plinth_tenancy using (workspace_id = {rls.WORKSPACE})"
    )


def downgrade() -> None:
    op.execute("drop policy tenant on kernel.audit")
    op.execute("revoke select on kernel.audit from plinth_tenancy")
    rls.drop_domain_schema("tenancy")
