"""Events that readers of the log do not get, audit rows that tell few what they hold, and jobs that few see."""

from alembic import op

revision = "0011"
down_revision = "0010"

_TABLES = ("kernel.outbox", "kernel.event_log", "kernel.audit", "jobs.jobs")


def upgrade() -> None:
    for table in _TABLES:
        op.execute(f"alter table {table} add column restricted boolean not null default false")
    # So that whoever reads what is not restricted passes over no others, of which there may be far more.
    op.execute("create index on kernel.event_log (workspace_id, position) where not restricted")


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"alter table {table} drop column restricted")
