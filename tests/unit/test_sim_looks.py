"""The virtual booth's sitters: how they can look, and where they can be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hardware.sim.booth import VirtualBooth
from hardware.sim.control import OrderRefusedError
from hardware.sim.passes import CHANNELS, Source, StackCache, add_light, looks_of, read_pass
from hardware.sim.room import Room
from hardware.sim.scenarios import LAMPS, PEOPLE, SCENARIOS
from hardware.sim.scene import Framing, Place, Renderer
from hardware.sim.sitter import Sitter

SRGB = (1.0, 1.0, 1.0)


class Lit:
    def outputs(self):
        return dict.fromkeys(LAMPS, (0.625, 0.625, 0.625))


@pytest.fixture
def room():
    room = Room(Sitter("jorge", "still", 0.0), 1.0)
    room.lamps = Lit()
    return room


def test_only_pictures_of_another_look_count_not_those_of_another_light():
    assert {"glasses", "mouth_open", "eyes_closed", "off_centre"} <= set(looks_of("jorge"))
    assert not {"side_light", "red_eye"} & set(looks_of("jorge"))
    assert all(looks_of(person) for person in PEOPLE)


def test_a_look_is_its_picture_in_full_light_and_darker_with_each_lamp(room, applicants):
    room.look = looks_of("jorge")["glasses"]
    drawn = Renderer(StackCache()).picture(room.view(0.0), (640, 853)).pixels
    wanted = cv2.imread(str(applicants / "variations" / "jorge_glasses.jpg"))
    assert cv2.PSNR(drawn, wanted) > 38
    stack = [read_pass(room.look, channel) for channel in CHANNELS]
    light = [add_light(stack, tuple(SRGB if n < count else (0.0,) * 3 for n in range(5))).mean() for count in range(6)]
    assert light[0] == 0
    assert np.all(np.diff(light) > 100)


def test_the_sitter_moves_and_shrinks_where_the_lens_sees_him():
    assert Place().seen(Framing()).is_native
    away = Place(x=0.25, y=-0.1, size=0.5).seen(Framing())
    assert (away.magnification, away.shift_x, away.shift_y) == (0.5, -0.5, 0.2)
    zoomed = Place(x=0.2).seen(Framing(2.0, 0.2, 0.0))
    assert (zoomed.magnification, zoomed.shift_x) == (2.0, 0.0)


async def test_orders_for_looks_and_places_are_strict(tmp_path):
    booth = VirtualBooth(SCENARIOS["seated"], tmp_path / "devices")
    await booth.order({"person": "mei", "look": "roll+15", "place": {"x": 0.2, "size": 0.6}})
    told = booth.state()["sitter"]
    assert (told["look"], told["place"]) == ("mei_roll+15", [0.2, 0.0, 0.6])
    assert booth.room.source(0.0) == Source("variations", "mei_roll+15")
    for wrong in (
        {"look": "glasses"},
        {"look": "../people/mei/neutral"},
        {"look": 3},
        {"place": {"x": "far"}},
        {"place": {"z": 1}},
        {"place": {"size": 0.01}},
        {"place": {"x": float("nan")}},
    ):
        with pytest.raises(OrderRefusedError):
            await booth.order(wrong)
    await booth.order({"person": "anna", "place": {}})
    assert booth.room.look is None
    assert booth.room.place == Place()
    await booth.order({"look": "yaw+25", "sitter": "absent"})
    assert booth.room.source(0.0) == Source("wall")
