"""What the first of two persons proposed, and what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "proposals",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("packet_sha256", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("producer", sa.String(64), nullable=True),
        sa.Column("causes", sa.String(128), nullable=True),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("officer", sa.String(64), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_proposals"),
    )
    op.create_index("ix_proposals_packet_sha256", "proposals", ["packet_sha256"])


def downgrade() -> None:
    op.drop_table("proposals")
