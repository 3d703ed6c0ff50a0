"""Roles, grants and row-level security, as every migration of a domain states them."""

from alembic import op

WORKSPACE = "(select nullif(current_setting('plinth.workspace', true), '')::uuid)"
USER = "(select nullif(current_setting('plinth.user', true), '')::uuid)"


def role(name: str, options: str = "nologin") -> None:
    """A role, unless another database of this cluster has made it already (roles belong to the cluster)."""
    op.execute(
        f"do $$ begin create role {name} {options};"
        " exception when duplicate_object or unique_violation then null; end $$"
    )


def drop_role(name: str) -> None:
    """What the role holds here, and the role itself unless another database still needs it."""
    op.execute(f"drop owned by {name}")
    op.execute(f"do $$ begin drop role {name}; exception when dependent_objects_still_exist then null; end $$")


def domain_schema(domain: str) -> None:
    """The schema of a domain, its two roles, its login for processes of its own, and its share of the kernel."""
    op.execute(f"create schema {domain}")
    login = f"plinth_app_{domain}"
    role(login, "login")
    op.execute(f"alter role {login} set transaction_timeout = '60s'")
    op.execute(f"grant usage on schema {domain} to {login}")
    for name in (f"plinth_{domain}", f"plinth_{domain}_system"):
        role(name)
        op.execute(f"grant usage on schema {domain} to {name}")
        op.execute(f"grant usage on schema kernel to {name}")
        op.execute(f"grant insert on kernel.outbox, kernel.audit, kernel.mail to {name}")
        op.execute(f"grant select, insert, update on kernel.idempotency to {name}")
        op.execute(f"grant {name} to plinth_app with inherit false, set true")
        op.execute(f"grant {name} to {login} with inherit false, set true")
    op.execute(f"grant plinth_kernel to {login} with inherit false, set true")


def drop_domain_schema(domain: str) -> None:
    """The reverse of `domain_schema`."""
    op.execute(f"drop schema {domain} cascade")
    for name in (f"plinth_app_{domain}", f"plinth_{domain}_system", f"plinth_{domain}"):
        drop_role(name)


def protect(table: str, *, rights: str = "select, insert, update, delete") -> None:
    """No row is seen or written but through a policy, and the domain's role may do `rights`."""
    domain = table.split(".", maxsplit=1)[0]
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    op.execute(f"grant {rights} on {table} to plinth_{domain}")


def tenant_policy(table: str, *, column: str = "workspace_id") -> None:
    """Rows of the session's workspace, and no others."""
    domain = table.split(".", maxsplit=1)[0]
    op.execute(f"create policy tenant on {table} to plinth_{domain} using ({column} = {WORKSPACE})")


def tenant_table(table: str, *, column: str = "workspace_id") -> None:
    """A table of tenants' rows: protected, and seen from inside the row's workspace only."""
    protect(table)
    tenant_policy(table, column=column)


def user_policy(table: str, *, column: str = "user_id", command: str = "all") -> None:
    """Rows of the session's user, whatever their workspace."""
    domain = table.split(".", maxsplit=1)[0]
    op.execute(f"create policy own on {table} for {command} to plinth_{domain} using ({column} = {USER})")


def system_policy(table: str, rights: str) -> None:
    """Every row, for the listed look-ups of the domain's system role; `rights` as in GRANT, e.g. `select, update`."""
    domain = table.split(".", maxsplit=1)[0]
    op.execute(f"grant {rights} on {table} to plinth_{domain}_system")
    op.execute(f"create policy system on {table} to plinth_{domain}_system using (true)")


def subscriber(domain: str) -> None:
    """Lets a domain's subscriptions keep their cursors, in the commit of their effects."""
    op.execute(f"grant select, insert, update on kernel.cursors to plinth_{domain}, plinth_{domain}_system")


def log_reader(domain: str) -> None:
    """Lets a domain's tenant sessions read their own workspace's rows of the event log."""
    op.execute(f"grant select on kernel.event_log, kernel.event_days to plinth_{domain}")
    op.execute(
        f"create policy tenant_{domain} on kernel.event_log for select to plinth_{domain}"
        f" using (workspace_id = {WORKSPACE})"
    )


def jobs_share(domain: str, *, manage: bool = False) -> None:
    """Lets a domain's sessions enqueue jobs and find the one that holds a key; or, to `manage`, its tenants' jobs too.

    A role needs to read a job's key for a second enqueue of it to find the first: in its own workspace only.
    """
    tenant, system = f"plinth_{domain}", f"plinth_{domain}_system"
    op.execute(f"grant usage on schema jobs to {tenant}, {system}")
    seen = "id, lane, workspace_id, kind, state, unique_key"
    op.execute(f"grant insert, select ({seen}) on jobs.jobs to {tenant}, {system}")
    op.execute(f"grant select on jobs.sleepers to {tenant}, {system}")
    op.execute(
        f"create policy keys_{domain} on jobs.jobs for select to {tenant}"
        f" using (workspace_id is not distinct from {WORKSPACE})"
    )
    op.execute(f"create policy keys_{domain}_system on jobs.jobs for select to {system} using (true)")
    if manage:
        op.execute(f"grant select, update on jobs.jobs to {tenant}")
        op.execute(f"create policy manage_{domain} on jobs.jobs to {tenant} using (workspace_id = {WORKSPACE})")
