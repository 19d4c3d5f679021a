"""The receipt log, and each packet's place in it. Packets from before get theirs at the intake's first start, which signs them in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A column and an index, not a copied table: on SQLite the copy would forget which serials were given before.
    op.add_column("packets", sa.Column("position", sa.BigInteger(), nullable=True))
    op.create_index("ix_packets_position", "packets", ["position"], unique=True)
    # Up to eight key ids with spaces between them. It stays so wide when this is taken back: no row is cut.
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("packets", "recipient", type_=sa.String(264), existing_nullable=False)
    op.create_table(
        "log_identity",
        sa.Column("log", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("log", name="pk_log_identity"),
    )
    op.create_table(
        "log_entries",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("packet_sha256", sa.String(64), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_log_entries"),
        sa.UniqueConstraint("packet_sha256", name="uq_log_entries_packet_sha256"),
    )
    op.create_table(
        "log_nodes",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name="pk_log_nodes"),
    )
    op.create_table(
        "log_heads",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_log_heads"),
    )


def downgrade() -> None:
    for table in ("log_heads", "log_nodes", "log_entries", "log_identity"):
        op.drop_table(table)
    op.drop_index("ix_packets_position", "packets")
    op.drop_column("packets", "position")
