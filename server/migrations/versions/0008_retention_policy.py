"""The policy of retention, as an intake tells it to desks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

DAYS = ("handed_over_days", "undecided_days", "rejected_days", "release_days", "backups_days")


def upgrade() -> None:
    op.create_table(
        "retention_policy",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in DAYS),
        sa.Column("keep_links", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name="pk_retention_policy"),
    )


def downgrade() -> None:
    op.drop_table("retention_policy")
