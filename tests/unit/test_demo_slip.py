"""The demo's applicant: his number may be typed at the kiosk; his slip is held to the camera when nothing comes."""

from __future__ import annotations

from types import SimpleNamespace

from booth.demo import SLIP_S, _hold_slip
from booth.demo_registry import DemoSlip

SLIP = DemoSlip("DEMO2026000017Q", "PB1TEXT")


class Kiosk:
    """Shows these states one after the other; the last one stays."""

    def __init__(self, *states: str) -> None:
        self._states = [{"state": state} for state in states]
        self.waited: list[float | None] = []

    @property
    def state(self):
        return self._states[0]

    async def next_state(self, within_s=None):
        self.waited.append(within_s)
        if len(self._states) > 1:
            self._states.pop(0)
        return self.state


class Sitter:
    def __init__(self) -> None:
        self.told: list[dict] = []

    async def tell(self, **order):
        self.told.append(order)


async def held(*states):
    kiosk, sitter = Kiosk(*states), Sitter()
    await _hold_slip(SimpleNamespace(sitter=sitter), kiosk, SLIP)
    return kiosk.waited, sitter.told


async def test_the_number_is_told_and_its_code_is_held_when_nobody_types(capsys):
    waited, told = await held("identify")
    assert "DEMO-2026-0000-17Q" in capsys.readouterr().out
    assert waited == [SLIP_S]
    assert told == [{"show_code": "PB1TEXT"}]


async def test_after_a_number_that_was_refused_the_time_begins_anew():
    waited, told = await held("identify", "identify", "identify")
    assert waited == [SLIP_S] * 3
    assert told == [{"show_code": "PB1TEXT"}]


async def test_a_typed_number_that_was_taken_needs_no_slip():
    _, told = await held("identify", "consent")
    assert told == []
