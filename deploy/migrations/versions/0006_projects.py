"""Projects: workflows with their versions, projects, tasks, approvals, and the activity that follows from events."""

import rls
from alembic import op

revision = "0006"
down_revision = "0005"

_CATEGORIES = "('backlog', 'unstarted', 'started', 'completed', 'cancelled')"


def upgrade() -> None:
    rls.domain_schema("projects")
    op.execute("""
        create table projects.workflows (
            workspace_id uuid not null,
            workflow_id uuid not null,
            display_name text not null,
            description text not null,
            subject text not null check (subject in ('project', 'task')),
            is_default boolean not null,
            definition_version integer not null,
            version integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            primary key (workspace_id, workflow_id)
        )""")
    op.execute("create unique index workflows_display_name on projects.workflows (workspace_id, lower(display_name))")
    op.execute("create unique index workflows_default on projects.workflows (workspace_id, subject) where is_default")
    op.execute("""
        create table projects.workflow_versions (
            workspace_id uuid not null,
            workflow_id uuid not null,
            version integer not null,
            definition jsonb not null,
            create_time timestamptz not null,
            primary key (workspace_id, workflow_id, version),
            foreign key (workspace_id, workflow_id) references projects.workflows on delete cascade
        )""")
    # Room on each page for the new row of a transition, which then touches no index.
    op.execute(f"""
        create table projects.projects (
            workspace_id uuid not null,
            project_id uuid not null,
            workflow_id uuid not null,
            display_name text not null,
            description text not null,
            state text not null,
            state_category text not null check (state_category in {_CATEGORIES}),
            author_id uuid not null,
            assignee_id uuid,
            labels text[] not null,
            due_time timestamptz,
            version integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            delete_time timestamptz,
            purge_time timestamptz,
            primary key (workspace_id, project_id),
            constraint projects_workflow foreign key (workspace_id, workflow_id) references projects.workflows,
            check ((delete_time is null) = (purge_time is null))
        ) with (fillfactor = 80)""")
    op.execute(
        "create unique index projects_display_name on projects.projects (workspace_id, lower(display_name))"
        " where delete_time is null"
    )
    # The orders of lists. None of these columns changes in a transition.
    op.execute("create index on projects.projects (workspace_id, create_time, project_id)")
    op.execute("create index on projects.projects (workspace_id, display_name, project_id)")
    op.execute("create index on projects.projects (workspace_id, due_time, project_id)")
    op.execute("create index on projects.projects (workspace_id, workflow_id)")
    op.execute("create index on projects.projects (purge_time) where purge_time is not null")
    # Positions sort byte by byte, whatever the collation of the database.
    op.execute(f"""
        create table projects.tasks (
            workspace_id uuid not null,
            project_id uuid not null,
            task_id uuid not null,
            workflow_id uuid not null,
            display_name text not null,
            description text not null,
            state text not null,
            state_category text not null check (state_category in {_CATEGORIES}),
            author_id uuid not null,
            assignee_id uuid,
            labels text[] not null,
            due_time timestamptz,
            position text collate "C" not null,
            version integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            primary key (workspace_id, project_id, task_id),
            foreign key (workspace_id, project_id) references projects.projects on delete cascade,
            constraint tasks_workflow foreign key (workspace_id, workflow_id) references projects.workflows
        ) with (fillfactor = 80)""")
    op.execute("create index on projects.tasks (workspace_id, project_id, position, task_id)")
    op.execute("create index on projects.tasks (workspace_id, workflow_id)")
    op.execute("""
        create table projects.approvals (
            workspace_id uuid not null,
            approval_id uuid not null,
            project_id uuid not null,
            task_id uuid,
            target_id uuid not null generated always as (coalesce(task_id, project_id)) stored,
            from_state text not null,
            to_state text not null,
            requester_id uuid not null,
            comment text not null,
            required_approvals integer not null,
            state text not null check (state in ('pending', 'approved', 'rejected', 'superseded', 'expired')),
            decisions jsonb not null,
            version integer not null,
            create_time timestamptz not null,
            update_time timestamptz not null,
            primary key (workspace_id, approval_id),
            foreign key (workspace_id, project_id) references projects.projects on delete cascade,
            foreign key (workspace_id, project_id, task_id) references projects.tasks on delete cascade
        )""")
    op.execute(
        "create unique index approvals_pending on projects.approvals (workspace_id, target_id, to_state)"
        " where state = 'pending'"
    )
    op.execute("create index on projects.approvals (workspace_id, project_id, task_id)")
    # What follows from events: it outlives what it tells of, so nothing here points at it.
    op.execute("""
        create table projects.activity (
            workspace_id uuid not null,
            position bigint not null,
            event_id uuid not null,
            project_id uuid,
            time timestamptz not null,
            verb text not null,
            resource text not null,
            actor text not null,
            changes jsonb not null,
            comment text not null,
            primary key (workspace_id, position)
        )""")
    op.execute("create index on projects.activity (workspace_id, project_id, position) where project_id is not null")

    for table in ("workflows", "workflow_versions", "projects", "tasks", "approvals", "activity"):
        rls.tenant_table(f"projects.{table}")
    # The system role deletes projects for good at their time, and with them their tasks and approvals.
    rls.system_policy("projects.projects", "select, update, delete")
    rls.subscriber("projects")
    rls.log_reader("projects")
    rls.jobs_share("projects")


def downgrade() -> None:
    rls.drop_domain_schema("projects")
