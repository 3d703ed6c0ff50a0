"""Events that readers of the log do not get, and audit rows that tell few what they hold."""

from alembic import op

revision = "0011"
down_revision = "0010"

_TABLES = ("outbox", "event_log", "audit")


def upgrade() -> None:
    for table in _TABLES:
        op.execute(f"alter table kernel.{table} add column restricted boolean not null default false")


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"alter table kernel.{table} drop column restricted")
