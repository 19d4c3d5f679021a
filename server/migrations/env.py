"""Alembic's entry: runs on the connection that server/store.py hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from server import (
    application_rows,
    audit,
    booth_orders,
    deletions,
    fleet_rows,
    handover_rows,
    holds,
    jobs,
    log_rows,
    packet_counts,
    proposals,
    queue_rows,
    retention_rows,
    scrub,
    staff,
    users,
)
from server.store import metadata

# Imported, so that the metadata of server/store.py has their tables too.
TABLES_OF = (
    application_rows,
    audit,
    booth_orders,
    deletions,
    fleet_rows,
    handover_rows,
    holds,
    jobs,
    log_rows,
    packet_counts,
    proposals,
    queue_rows,
    retention_rows,
    scrub,
    staff,
    users,
)
connection = context.config.attributes["connection"]
# SQLite alters tables by copying them ("batch"); harmless elsewhere.
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=False)
context.run_migrations()
