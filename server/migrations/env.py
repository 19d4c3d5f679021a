"""Alembic's entry: runs on the connection that server/store.py hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from server.log_rows import log_heads

connection = context.config.attributes["connection"]
# SQLite alters tables by copying them ("batch"); harmless elsewhere.
# The log's tables lie in the same metadata as those of server/store.py.
metadata = log_heads.metadata
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=False)
context.run_migrations()
