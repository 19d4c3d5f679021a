"""A desk looks at a store that is there, or says what is missing; it never makes one."""

from __future__ import annotations

import asyncio

import pytest

from server.config import StoreSettings
from server.errors import SettingsError
from server.made_store import await_store
from tests.made_stores import make_store


async def test_a_folder_without_a_store_is_refused_with_what_makes_one_and_stays_as_it_is(tmp_path):
    with pytest.raises(SettingsError, match=r"packets is missing.*intake serve --data .*mistyped"):
        await await_store(StoreSettings(data_dir=tmp_path / "mistyped"))
    (tmp_path / "half" / "objects" / "packets").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"intake\.sqlite3 is missing"):
        await await_store(StoreSettings(data_dir=tmp_path / "half"))
    assert not list(tmp_path.rglob("*.sqlite3*"))


async def test_a_store_that_an_intake_made_is_good_also_when_it_is_made_meanwhile(tmp_path):
    settings = StoreSettings(data_dir=tmp_path / "data")
    waiting = asyncio.create_task(await_store(settings, 30))
    await asyncio.to_thread(make_store, tmp_path / "data")
    await waiting
    await await_store(settings)
