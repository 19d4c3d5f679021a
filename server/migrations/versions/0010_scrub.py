"""Where the scrubber is, and what it found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "object_faults",
        sa.Column("collection", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("collection", "name", name="pk_object_faults"),
    )
    op.create_table(
        "scrub_walk",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("collection", sa.String(16), nullable=False),
        sa.Column("after", sa.String(64), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_began_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("slot", name="pk_scrub_walk"),
    )


def downgrade() -> None:
    op.drop_table("scrub_walk")
    op.drop_table("object_faults")
