"""Sites, booths, their newest heartbeats, the counts of their days, and alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sites",
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("site", name="pk_sites"),
    )
    op.create_table(
        "booths",
        sa.Column("booth", sa.String(64), nullable=False),
        sa.Column("site", sa.String(64), nullable=True),
        sa.Column("label", sa.String(80), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("booth", name="pk_booths"),
    )
    op.create_index("ix_booths_site", "booths", ["site"])
    op.create_table(
        "heartbeats",
        sa.Column("booth", sa.String(64), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("days_sha256", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("booth", name="pk_heartbeats"),
    )
    op.create_table(
        "fleet_days",
        sa.Column("booth", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("booth", "day", "kind", "name", name="pk_fleet_days"),
    )
    op.create_index("ix_fleet_days_kind_day", "fleet_days", ["kind", "day"])
    op.create_table(
        "alerts",
        sa.Column("serial", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("booth", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("bound", sa.Double(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("serial", name="pk_alerts"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alerts_booth_opened", "alerts", ["booth", "opened_at"])
    op.create_index("ix_alerts_resolved", "alerts", ["resolved_at"])
    still_open = sa.text("resolved_at IS NULL")
    op.create_index(
        "ix_alerts_open",
        "alerts",
        ["booth", "kind", "name"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )


def downgrade() -> None:
    for table in ("alerts", "fleet_days", "heartbeats", "booths", "sites"):
        op.drop_table(table)
