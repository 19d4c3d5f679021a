"""The receipt log, and each packet's place in it. Packets from before get theirs at the intake's first start, which signs them in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("packets", table_kwargs={"sqlite_autoincrement": True}) as packets:
        packets.add_column(sa.Column("position", sa.BigInteger(), nullable=True))
        packets.create_unique_constraint("uq_packets_position", ["position"])
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
    with op.batch_alter_table("packets", table_kwargs={"sqlite_autoincrement": True}) as packets:
        packets.drop_constraint("uq_packets_position", type_="unique")
        packets.drop_column("position")
