"""Indexes that searches read page by page, and the tally of deleted packets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ONE_COLUMN = ("booth", "received_at")


def upgrade() -> None:
    for column in ONE_COLUMN:
        op.drop_index(f"ix_packets_{column}", "packets")
    op.create_index("ix_packets_arrival", "packets", ["received_at", "serial"])
    op.create_index("ix_packets_booth_arrival", "packets", ["booth", "received_at", "serial"])
    op.create_table(
        "tallies",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_tallies"),
    )
    op.execute(
        "INSERT INTO tallies (name, value) SELECT 'deleted packets', count(*) FROM deletions HAVING count(*) > 0"
    )


def downgrade() -> None:
    op.drop_table("tallies")
    op.drop_index("ix_packets_booth_arrival", "packets")
    op.drop_index("ix_packets_arrival", "packets")
    for column in ONE_COLUMN:
        op.create_index(f"ix_packets_{column}", "packets", [column])
