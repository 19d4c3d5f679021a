"""Orders for booths, and the sealed support bundles that some of them ask for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "booth_orders",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("booth", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(16), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_booth_orders"),
        sa.UniqueConstraint("booth", "number", name="uq_booth_orders_booth_number"),
    )
    op.create_index("ix_booth_orders_made_at", "booth_orders", ["made_at"])
    op.create_table(
        "booth_bundles",
        sa.Column("order_id", sa.String(32), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name="pk_booth_bundles"),
    )
    op.create_index("ix_booth_bundles_received_at", "booth_bundles", ["received_at"])


def downgrade() -> None:
    op.drop_table("booth_bundles")
    op.drop_table("booth_orders")
