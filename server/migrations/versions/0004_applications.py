"""Applications, and the captures that join packets with them and with status tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "applications",
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("centre", sa.String(64), nullable=False),
        sa.Column("expires", sa.Date(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_applications"),
        sa.UniqueConstraint("digest", name="uq_applications_digest"),
    )
    op.create_index("ix_applications_expires", "applications", ["expires"])
    op.create_table(
        "captures",
        sa.Column("serial", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("packet_sha256", sa.String(64), nullable=False),
        sa.Column("application", sa.String(64), nullable=True),
        sa.Column("status", sa.String(64), nullable=True),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_captures"),
        sa.UniqueConstraint("packet_sha256", name="uq_captures_packet_sha256"),
        sqlite_autoincrement=True,
    )
    for column in ("application", "status", "received_at"):
        op.create_index(f"ix_captures_{column}", "captures", [column])


def downgrade() -> None:
    op.drop_table("captures")
    op.drop_table("applications")
