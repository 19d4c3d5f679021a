"""Decisions of the desk, orders for producers, and the counter of their cursors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("packet_sha256", sa.String(64), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("decision", sa.LargeBinary(), nullable=False),
        sa.Column("link", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_decisions"),
        sa.UniqueConstraint("packet_sha256", name="uq_decisions_packet_sha256"),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("packet_sha256", sa.String(64), nullable=False),
        sa.Column("producer", sa.String(64), nullable=False),
        sa.Column("message_sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer_by", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("resend_of", sa.String(32), nullable=True),
        sa.Column("resend_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer_verdict", sa.String(16), nullable=True),
        sa.Column("answer_code", sa.String(64), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
        sa.UniqueConstraint("cursor", name="uq_orders_cursor"),
        sa.UniqueConstraint("resend_of", name="uq_orders_resend_of"),
    )
    op.create_index("ix_orders_packet_sha256", "orders", ["packet_sha256"])
    op.create_index("ix_orders_message_sha256", "orders", ["message_sha256"])
    op.create_index("ix_orders_producer_cursor", "orders", ["producer", "cursor"])
    for name, column, where in (
        ("ix_orders_waiting", "answer_by", "answered_at IS NULL AND superseded_at IS NULL"),
        ("ix_orders_asked", "resend_asked_at", "resend_asked_at IS NOT NULL AND superseded_at IS NULL"),
    ):
        op.create_index(name, "orders", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    counter = op.create_table(
        "order_counter",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name="pk_order_counter"),
    )
    op.bulk_insert(counter, [{"slot": 1, "last": 0, "answered": 0}])


def downgrade() -> None:
    op.drop_table("order_counter")
    op.drop_table("orders")
    op.drop_table("decisions")
