"""A visit of real programs while devices fail: the visit says so and heals when they are back; no process dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2

from booth.demo import Demo, DemoOptions, running_demo
from booth.demo_registry import demo_number
from booth.demo_visit import Kiosk

DEVICES = {"camera.kill": "camera", "visca.unplug": "controls", "lights.unplug": "lights"}
WAIT_S = 40.0
LOOK_AGAIN_S = 0.1


@asynccontextmanager
async def demo_with_kiosk() -> AsyncIterator[tuple[Demo, Kiosk]]:
    async with running_demo(DemoOptions(visit=True)) as demo, httpx2.AsyncClient(timeout=20) as client:
        kiosk = Kiosk(demo.kiosk_url, client)
        async with kiosk.open():
            await kiosk.log_in(demo.passphrase)
            yield demo, kiosk
        assert [p.name for p in demo.programs if p.process.returncode is not None] == []


async def technician_sees(kiosk: Kiosk, condition: Callable[[dict], bool], what: str) -> dict:
    """Look at the technician's status until it meets a condition."""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not condition(status := await kiosk.technician()):
        assert asyncio.get_running_loop().time() < deadline, f"{what}: never; {status['devices']}"
        await kiosk.next_state(LOOK_AGAIN_S)
    return status


async def screen_shows(kiosk: Kiosk, condition: Callable[[dict], bool], what: str) -> dict:
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not condition(kiosk.state):
        assert asyncio.get_running_loop().time() < deadline, f"{what}: never; {kiosk.state}"
        await kiosk.next_state(LOOK_AGAIN_S)
    return kiosk.state


def device_state(status: dict, name: str) -> str:
    return {device["name"]: device["state"] for device in status["devices"]}[name]


async def framing(demo: Demo, kiosk: Kiosk) -> None:
    """Bring a visit to FRAMING, with a sitter who looks away, so that no picture is taken yet."""
    await kiosk.until("attract")
    await demo.sitter.tell(sitter="still")
    await kiosk.post("start")
    await kiosk.until("language")
    await kiosk.post("language", language="de")
    await kiosk.until("identify")
    await kiosk.post("identify", number=demo_number(0))
    await kiosk.until("consent")
    await demo.sitter.tell(sitter="look_away")
    await kiosk.post("consent", answer=True)
    await screen_shows(kiosk, lambda s: "turn_head" in s["instruction"]["key"], "the sitter is told to turn the head")


async def test_each_device_may_go_and_come_back_in_the_middle_of_a_visit():
    async with demo_with_kiosk() as (demo, kiosk):
        for fault, device in DEVICES.items():
            await framing(demo, kiosk)
            await demo.sitter.tell(fault=fault, on=True)
            lost = await technician_sees(kiosk, lambda s, d=device: device_state(s, d) != "ready", f"{fault} is seen")
            assert lost["fault_hint"] or any(event["level"] != "info" for event in lost["events"])
            if device != "controls":  # without its control line the camera still gives pictures
                told = await screen_shows(kiosk, lambda s: s["fault"] is not None, f"the screen tells of {fault}")
                assert told["state"] == "framing"
            await demo.sitter.tell(fault=fault, on=False)
            await technician_sees(kiosk, lambda s, d=device: device_state(s, d) == "ready", f"{device} is back")
            await screen_shows(kiosk, lambda s: s["fault"] is None, f"the screen is well again after {fault}")
            await demo.sitter.tell(sitter="still")
            reviewed = await kiosk.until("review")
            assert reviewed["compliant"] is True
            await kiosk.post("cancel")
            await kiosk.until("attract")
