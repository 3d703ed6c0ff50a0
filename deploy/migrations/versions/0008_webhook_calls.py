"""Webhook endpoints keep which calls are under way, so that one which hangs holds up no other."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("alter table events.webhook_endpoints add column busy_until timestamptz[] not null default '{}'")


def downgrade() -> None:
    op.execute("alter table events.webhook_endpoints drop column busy_until")
