"""An empty store, as an intake makes it when it starts, for a desk that is tested alone."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server.config import StoreSettings
from server.objects import open_objects
from server.store import open_store


def make_store(data: Path) -> None:
    """Blocks; in a thread of its own, so that a test with a running loop may call it."""

    async def make() -> None:
        settings = StoreSettings(data_dir=data)
        async with open_store(settings.resolved_database_url), open_objects(settings):
            pass

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make()).result()
