"""Whether the store that a desk is to look at was ever made: a desk never makes one, because a mistyped address would then show an empty list.

A store is the place of the packets and the rows. An intake makes both when it starts. A desk that starts beside the first intake may wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from server.config import StoreSettings
from server.errors import SettingsError, StorageUnavailableError
from server.objects import lacking_place
from server.restore_mark import require_no_mark
from server.store import make_engine, read_address

log = logging.getLogger(__name__)

LOOK_S = 0.2


async def await_store(settings: StoreSettings, wait_s: float = 0.0) -> None:
    """Returns when there is a store. Raises `SettingsError` when there is none after `wait_s`, `StorageUnavailableError`."""
    require_no_mark(settings.data_dir)
    until, told = time.monotonic() + wait_s, False
    while (lacking := await _lacking(settings)) is not None:
        if time.monotonic() >= until:
            raise SettingsError(
                f"There is no store here yet: {lacking} is missing. An intake makes it when it starts "
                f"(`intake serve --data {settings.data_dir} …`); is --data the folder that the intake uses?"
            )
        if not told:
            log.info("There is no store yet: an intake is waited for.")
            told = True
        await asyncio.sleep(LOOK_S)


async def _lacking(settings: StoreSettings) -> str | None:
    """What is not there, in words; None when all is."""
    place = await lacking_place(settings)
    if place is not None:
        return place
    url = read_address(settings.resolved_database_url)
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        return None if await asyncio.to_thread(file.is_file) else f"the database {file}"
    engine = make_engine(settings.resolved_database_url)
    try:
        async with engine.connect() as connection:
            made = await connection.run_sync(lambda plain: sa.inspect(plain).has_table("packets"))
    except (SQLAlchemyError, OSError) as error:
        raise StorageUnavailableError(
            "The database did not answer: look at its address, its rights and whether it runs."
        ) from error
    finally:
        await engine.dispose()
    return None if made else f"the table of packets in the database {url.database} at {url.host}"
