"""Deletions, holds, and the head of the holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deletions",
        sa.Column("packet_sha256", sa.String(64), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erasure", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("packet_sha256", name="pk_deletions"),
    )
    for column in ("deleted_at", "erased_at"):
        op.create_index(f"ix_deletions_{column}", "deletions", [column])
    op.create_table(
        "holds",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("packet_sha256", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_holds"),
    )
    op.create_index("ix_holds_packet_sha256", "holds", ["packet_sha256"])
    op.create_table(
        "hold_head",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name="pk_hold_head"),
    )


def downgrade() -> None:
    op.drop_table("hold_head")
    op.drop_table("holds")
    op.drop_table("deletions")
