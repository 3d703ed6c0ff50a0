"""Tables of the schema `projects`. Constraints and policies stand in the migration."""

from sqlalchemy import BigInteger, Boolean, Column, Computed, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID

metadata = MetaData(schema="projects")

_TIME = TIMESTAMP(timezone=True)

workflows = Table(
    "workflows",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("workflow_id", UUID, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("definition_version", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

# Append-only: `workflows.definition_version` says which one is in force.
workflow_versions = Table(
    "workflow_versions",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("workflow_id", UUID, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("definition", JSONB, nullable=False),
    Column("create_time", _TIME, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("project_id", UUID, primary_key=True),
    Column("workflow_id", UUID, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("state_category", Text, nullable=False),
    Column("author_id", UUID, nullable=False),
    Column("assignee_id", UUID),
    Column("labels", ARRAY(Text), nullable=False),
    Column("due_time", _TIME),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
    Column("delete_time", _TIME),
    Column("purge_time", _TIME),
)

tasks = Table(
    "tasks",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("project_id", UUID, primary_key=True),
    Column("task_id", UUID, primary_key=True),
    Column("workflow_id", UUID, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("state_category", Text, nullable=False),
    Column("author_id", UUID, nullable=False),
    Column("assignee_id", UUID),
    Column("labels", ARRAY(Text), nullable=False),
    Column("due_time", _TIME),
    Column("position", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

# `target_id` is the task, or the project where there is none. `decisions` is a list of objects, oldest first.
approvals = Table(
    "approvals",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("approval_id", UUID, primary_key=True),
    Column("project_id", UUID, nullable=False),
    Column("task_id", UUID),
    Column("target_id", UUID, Computed("…", persisted=True)),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Column("requester_id", UUID, nullable=False),
    Column("comment", Text, nullable=False),
    Column("required_approvals", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("decisions", JSONB, nullable=False),
    Column("version", Integer, nullable=False),
    Column("create_time", _TIME, nullable=False),
    Column("update_time", _TIME, nullable=False),
)

activity = Table(
    "activity",
    metadata,
    Column("workspace_id", UUID, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("event_id", UUID, nullable=False),
    Column("project_id", UUID),
    Column("time", _TIME, nullable=False),
    Column("verb", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("changes", JSONB, nullable=False),
    Column("comment", Text, nullable=False),
)
