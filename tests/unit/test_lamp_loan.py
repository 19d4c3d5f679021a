"""The lamps of a lit scene lent out: who has them, how they come back, and who takes them back."""

from __future__ import annotations

import asyncio

import pytest

from booth.errors import LampsTakenBackError
from booth.events import LightScene
from booth.lamps import open_lamps
from hardware.errors import LightsTimeoutError

BASE = {"key_left": 62.5, "key_right": 62.5}


class Station:
    """Lamps that follow at once, or refuse."""

    def __init__(self):
        self.levels_pct = {}
        self.told = []
        self.refuses = 0

    async def set_levels(self, levels_pct, *, seen=True, ramped=True):
        await asyncio.sleep(0)
        if self.refuses:
            self.refuses -= 1
            raise LightsTimeoutError("The lamps do not answer.")
        self.told.append(dict(levels_pct))
        self.levels_pct = {**self.levels_pct, **levels_pct}
        return self.levels_pct

    async def set_portrait_light(self):
        await self.set_levels(BASE)

    async def set_standby_light(self):
        await self.set_levels(dict.fromkeys(BASE, 15.0))


@pytest.fixture
async def lamps(no_tasks_left):
    station = Station()
    async with open_lamps(station, lambda _: None) as keeper:
        keeper.want(LightScene.PORTRAIT)
        await keeper.lit.wait()
        yield keeper, station


async def test_a_borrower_gets_the_base_levels_and_they_are_restored(lamps):
    keeper, station = lamps
    async with keeper.lent() as base:
        assert base == BASE
        await station.set_levels({"key_left": 50.0}, seen=False, ramped=False)
        assert keeper.lit.is_set()
    assert station.levels_pct == BASE
    assert keeper.lit.is_set()


async def test_another_wish_takes_the_lamps_back_at_once(lamps):
    keeper, station = lamps
    lent = asyncio.Event()

    async def borrow():
        async with keeper.lent():
            lent.set()
            await asyncio.Event().wait()

    borrower = asyncio.create_task(borrow())
    await lent.wait()
    keeper.want(LightScene.STANDBY)
    with pytest.raises(LampsTakenBackError):
        await borrower
    async with keeper.lent() as base:
        assert base == dict.fromkeys(BASE, 15.0), "the next one gets what was wanted meanwhile"
    assert BASE not in station.told[1:], "nothing was restored over the new scene"


async def test_a_borrower_who_tidies_up_after_he_was_asked_does_not_undo_the_new_scene(lamps):
    keeper, station = lamps
    keeper.want(LightScene.STANDBY)
    lent = asyncio.Event()

    async def borrow():
        async with keeper.lent() as base:
            lent.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                await station.set_levels(base)

    borrower = asyncio.create_task(borrow())
    await lent.wait()
    keeper.want(LightScene.PORTRAIT)
    with pytest.raises(LampsTakenBackError):
        await borrower
    await keeper.lit.wait()
    assert station.levels_pct == BASE


@pytest.mark.parametrize("error", [None, ValueError("mine")])
async def test_a_borrower_who_does_not_hear_that_he_was_asked_does_not_undo_the_new_scene(lamps, error):
    keeper, station = lamps
    keeper.want(LightScene.STANDBY)
    lent = asyncio.Event()

    async def borrow():
        try:
            async with keeper.lent():
                lent.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    await asyncio.sleep(0.01)
                if error is not None:
                    raise error
        finally:
            assert asyncio.current_task().cancelling() == 0

    borrower = asyncio.create_task(borrow())
    await lent.wait()
    keeper.want(LightScene.PORTRAIT)
    await asyncio.gather(borrower, return_exceptions=True)
    assert borrower.exception() is error
    await keeper.lit.wait()
    assert station.levels_pct == BASE


async def test_a_wish_at_the_very_end_of_a_loan_does_not_reach_the_borrowers_next_work(lamps):
    keeper, _ = lamps
    async with keeper.lent():
        keeper.want(LightScene.STANDBY)
    await asyncio.sleep(0)
    async with keeper.lent() as base:
        assert base == dict.fromkeys(BASE, 15.0)
    assert asyncio.current_task().cancelling() == 0


async def test_a_borrower_who_is_cancelled_by_others_leaves_the_scene_set_anew(lamps):
    keeper, station = lamps
    lent = asyncio.Event()

    async def borrow():
        async with keeper.lent():
            await station.set_levels({"key_left": 55.0})
            lent.set()
            await asyncio.Event().wait()

    borrower = asyncio.create_task(borrow())
    await lent.wait()
    borrower.cancel()
    with pytest.raises(asyncio.CancelledError):
        await borrower
    await keeper.lit.wait()
    assert station.levels_pct == BASE


async def test_a_borrower_who_fails_leaves_the_base_levels(lamps):
    keeper, station = lamps

    async def fail():
        async with keeper.lent():
            await station.set_levels({"key_left": 55.0})
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fail()
    assert station.levels_pct == BASE


async def test_lamps_that_refuse_to_come_back_are_set_anew_by_the_keeper(lamps):
    keeper, station = lamps
    async with keeper.lent():
        await station.set_levels({"key_left": 55.0})
        station.refuses = 1
    assert not keeper.lit.is_set()
    await keeper.lit.wait()
    assert station.levels_pct == BASE


async def test_who_waits_for_one_scene_gets_the_lamps_of_another_that_is_wanted_meanwhile(lamps):
    keeper, _ = lamps
    keeper.want(LightScene.PORTRAIT)  # not lit yet

    async def borrow():
        async with keeper.lent() as base:
            return base

    borrower = asyncio.create_task(borrow())
    await asyncio.sleep(0)
    keeper.want(LightScene.STANDBY)
    async with asyncio.timeout(0.5):
        assert await borrower == dict.fromkeys(BASE, 15.0)


async def test_one_borrower_at_a_time(lamps):
    keeper, _ = lamps
    order = []

    async def borrow(name):
        async with keeper.lent():
            order.append(name)
            await asyncio.sleep(0)
            order.append(name)

    await asyncio.gather(borrow("a"), borrow("b"))
    assert order == ["a", "a", "b", "b"]
