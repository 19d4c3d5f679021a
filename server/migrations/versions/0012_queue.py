"""The officers' queue: state, terms and summary of each packet that a desk has read, and who looks at one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queue_packets",
        sa.Column("packet_sha256", sa.String(64), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("judged", sa.LargeBinary(), nullable=False),
        sa.Column("terms", sa.LargeBinary(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("packet_sha256", name="pk_queue_packets"),
    )
    op.create_index("ix_queue_packets_state_arrival", "queue_packets", ["state", "received_at", "serial"])
    op.create_table(
        "queue_terms",
        sa.Column("term", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("serial", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("term", "state", "received_at", "serial", name="pk_queue_terms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "queue_mark",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name="pk_queue_mark"),
    )
    op.create_table(
        "queue_looks",
        sa.Column("packet_sha256", sa.String(64), nullable=False),
        sa.Column("officer", sa.String(64), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("packet_sha256", name="pk_queue_looks"),
    )


def downgrade() -> None:
    for table in ("queue_looks", "queue_mark", "queue_terms", "queue_packets"):
        op.drop_table(table)
