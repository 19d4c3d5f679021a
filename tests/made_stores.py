"""An empty store, as an intake makes it when it starts, for a desk that is tested alone."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server.config import StoreSettings
from server.objects import open_objects
from server.store import open_store


def put_database(data: Path) -> None:
    """A database with all its tables, for a store that is opened then: its migrations, a tenth of a second, are done once in a run."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data / "intake.sqlite3"
    if not path.exists():
        path.write_bytes(_made_database())
        path.chmod(0o600)


@functools.cache
def _made_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        make_store(Path(folder))
        assert not (Path(folder) / "intake.sqlite3-wal").exists(), "all of it is in the one file"
        return (Path(folder) / "intake.sqlite3").read_bytes()


def make_store(data: Path) -> None:
    """Blocks; in a thread of its own, so that a test with a running loop may call it."""

    async def make() -> None:
        settings = StoreSettings(data_dir=data)
        async with open_store(settings.resolved_database_url), open_objects(settings):
            pass

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make()).result()
