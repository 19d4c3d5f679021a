"""Lamp response: measured in a synthetic room; dead, weak, swapped and mis-addressed lamps are told apart."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from capture.errors import LampsNotMeasurableError
from capture.lamp_comparison import LampVerdict, compare_lamps, exposure_ratio
from capture.lamp_response import LampResponses, measure_lamps, read_grid, strength_of
from capture.station import LightsSection, Station, StationSettings
from hardware.camera import CameraImage, CameraSettings
from hardware.controls import CameraControlState
from hardware.lights import CHANNELS, SegmentMap
from hardware.link import DeviceState, DeviceStatus

CAMERA = CameraSettings(url="http://127.0.0.1:1/preview.mjpg")
LIGHTS = LightsSection(
    url="wled+serial:///dev/x", channels={name: SegmentMap(segment=number) for number, name in enumerate(CHANNELS)}
)
WIDTH, HEIGHT = 30, 40


@pytest.fixture(autouse=True, scope="module")
def ramps_at_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capture.station.RAMP_PERIOD_S", 0)
        yield


class Room:
    """Lamps with patterns, wired as told, in front of a camera whose picture follows at once."""

    acknowledged_by = "echo"

    def __init__(self, *, gamma=1.0, ambient=0.02, strength=None, wiring=None, tint=(1.0, 1.0, 1.0), patterns=None):
        self.status = DeviceStatus("room", "x", DeviceState.READY, 0)
        self.levels_pct = dict.fromkeys(CHANNELS, 15.0)
        self.sequence = 0
        self.newest = None
        self.ambient = ambient
        self.gamma = gamma
        self.strength = strength or {}
        # lamp: the channels that it listens to
        self.wiring = wiring or {}
        self.tint = np.array(tint)
        self.history = []
        self.on_levels = lambda _room: None
        x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
        self.patterns = {
            "key_left": 0.30 * np.exp(-0.1 * x),
            "key_right": 0.30 * np.exp(0.1 * x),
            "fill_top": 0.26 * np.exp(-0.2 * y),
            "background": 0.55 * (1 - 0.05 * (x**2 + y**2)),
        } | {lamp: pattern(x) for lamp, pattern in (patterns or {}).items()}

    def light(self):
        total = np.full((HEIGHT, WIDTH), self.ambient)
        for lamp, pattern in self.patterns.items():
            drive = sum(self.levels_pct[channel] for channel in self.wiring.get(lamp, (lamp,))) / 100
            total = total + pattern * self.strength.get(lamp, 1.0) * drive**self.gamma
        return total[..., None] * self.tint

    def picture(self):
        light = np.clip(self.light(), 0, 1)
        code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
        # A sensor's noise keeps the rounding from being the same in every pixel.
        noise = np.random.default_rng(self.sequence).normal(0, 0.7, code.shape)
        self.sequence += 1
        pixels = np.rint(np.clip(255 * code + noise, 0, 255)).astype(np.uint8)
        return CameraImage(pixels, time.monotonic_ns(), self.sequence, "PNG", False)

    def preview(self):
        return self.newest

    async def next_preview(self, after_sequence, timeout_s):
        await asyncio.sleep(0)
        self.newest = self.picture()
        return self.newest

    async def set_levels(self, levels_pct):
        self.levels_pct = {**self.levels_pct, **levels_pct}
        self.history.append(dict(self.levels_pct))
        self.on_levels(self)
        return self.levels_pct


def station_of(room, lights=LIGHTS):
    return Station(StationSettings(camera=CAMERA, lights=lights), room, None, room)


async def measured(**room):
    return await measure_lamps(station_of(Room(**room)))


@pytest.fixture(scope="module")
def baseline():
    return asyncio.run(measured())


def test_a_grid_is_the_mean_linear_light_of_its_cells():
    pixels = np.zeros((40, 30, 3), np.uint8)
    pixels[:10, 20:] = (0, 188, 255)  # 188 is half of the light in sRGB
    grid, clipped = read_grid(pixels)
    assert grid.shape == (4, 3, 3)
    assert grid[0, 2] == pytest.approx((0, 0.503, 1), abs=0.002)
    assert grid[1:].max() == 0
    assert clipped.nonzero() == (np.array([0]), np.array([2]))
    with pytest.raises(ValueError, match="colour"):
        read_grid(np.zeros((40, 30), np.uint8))


async def test_each_lamp_is_measured_alone_and_gets_its_level_back(baseline):
    room, told = Room(gamma=1.8), []
    responses = await measure_lamps(station_of(room), told.append)
    left = responses.lamp("key_left")
    assert left.drives_pct == (25.0, 50.0, 75.0, 100.0)
    assert left.shares == pytest.approx([(d / 100) ** 1.8 for d in left.drives_pct], abs=0.02)
    assert left.share_at(50) == pytest.approx(left.shares[1])
    assert left.drive_for(left.shares[2]) == pytest.approx(75)
    assert left.drive_for(5) == 100
    cells = np.asarray(left.pattern)[..., 1]
    assert cells[:, 0].mean() / cells[:, 2].mean() == pytest.approx(np.exp(0.1 * 4 / 3), abs=0.03)
    assert np.asarray(responses.ambient).mean() == pytest.approx(0.02, abs=0.002)
    assert all(sum(level > 0 for level in levels.values()) <= 2 for levels in room.history[3:-4])
    assert dict.fromkeys(CHANNELS, 15.0) == room.levels_pct
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert LampResponses.model_validate_json(responses.model_dump_json()) == responses
    assert baseline.lamp("status") is None


async def test_cells_that_are_clipped_are_told_from_a_lower_drive():
    responses = await measured(patterns={"background": lambda x: 0.3 + 1.2 * (x > 1 / 3)})
    lamp = responses.lamp("background")
    assert lamp.clipped_cells == 4
    assert np.asarray(lamp.pattern)[:, 2, 1] == pytest.approx([1.5] * 4, rel=0.02)
    assert lamp.shares == pytest.approx((0.25, 0.5, 0.75, 1), abs=0.01)


async def test_a_picture_that_is_clipped_everywhere_is_refused_with_the_remedy():
    with pytest.raises(LampsNotMeasurableError, match=r"background at full drive overexposes.*exposure or gain"):
        await measured(strength={"background": 4})


async def test_a_room_whose_light_changes_is_refused_and_the_lamps_are_set_back():
    room = Room()

    def open_the_door(room):
        room.ambient += 0.002

    room.on_levels = open_the_door
    with pytest.raises(LampsNotMeasurableError, match="close door and curtain"):
        await measure_lamps(station_of(room))
    assert dict.fromkeys(CHANNELS, 15.0) == room.levels_pct


async def test_a_measurement_that_is_cancelled_sets_the_lamps_back():
    room, started = Room(), asyncio.Event()
    room.on_levels = lambda room: started.set() if room.levels_pct["key_right"] == 100 else None
    measuring = asyncio.create_task(measure_lamps(station_of(room)))
    await started.wait()
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    assert dict.fromkeys(CHANNELS, 15.0) == room.levels_pct


async def test_a_booth_without_lamps_says_so():
    with pytest.raises(LampsNotMeasurableError, match="no lamps"):
        await measure_lamps(station_of(Room(), lights=None))


def verdicts(comparison):
    return {view.lamp: view.verdict.value for view in comparison.lamps}


SOUND = dict.fromkeys(CHANNELS, "sound")


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        ({}, {}),
        ({"ambient": 0.15}, {}),
        ({"strength": {"key_left": 0.0}}, {"key_left": "dark"}),
        ({"strength": {"key_right": 0.6}}, {"key_right": "weak"}),
        ({"strength": {"background": 0.6, "fill_top": 0.3}}, {"background": "weak", "fill_top": "weak"}),
        ({"strength": {"fill_top": 1.4}}, {"fill_top": "strong"}),
        (
            {"wiring": {"key_left": ("key_right",), "key_right": ("key_left",)}},
            {"key_left": "swapped", "key_right": "swapped"},
        ),
        (
            {"wiring": {"fill_top": ("background",), "background": ("fill_top",)}},
            {"fill_top": "swapped", "background": "swapped"},
        ),
        ({"wiring": {"key_left": ("key_right",)}}, {"key_left": "misaddressed"}),
        ({"wiring": {"key_left": ("key_left", "fill_top")}}, {"key_left": "misaddressed"}),
        ({"wiring": {"key_left": ()}}, {"key_left": "dark"}),
    ],
)
async def test_what_is_wrong_with_a_lamp_is_told(baseline, room, expected):
    found = compare_lamps(await measured(**room), baseline)
    assert verdicts(found) == SOUND | expected


async def test_a_lamp_that_lost_light_or_colour_is_told_by_how_much(baseline):
    weak = await measured(strength={"key_right": 0.6})
    assert compare_lamps(weak, baseline).lamp("key_right").strength == pytest.approx(0.6, abs=0.01)
    assert strength_of(weak.lamp("key_right"), baseline.lamp("key_right")) == pytest.approx(0.6, abs=0.01)
    warm = compare_lamps(await measured(tint=(0.8, 1.0, 1.1)), baseline).lamp("fill_top")
    assert warm.red_shift == pytest.approx(0.1, abs=0.02)
    assert warm.blue_shift == pytest.approx(-0.2, abs=0.02)
    assert warm.verdict is LampVerdict.SOUND


async def test_all_lamps_weak_alike_point_at_the_camera(baseline):
    found = compare_lamps(await measured(strength=dict.fromkeys(CHANNELS, 0.7)), baseline)
    assert found.common_strength == pytest.approx(0.7, abs=0.02)
    assert compare_lamps(await measured(strength={"key_left": 0.7}), baseline).common_strength is None
    assert compare_lamps(await measured(strength={"key_left": 0}), baseline).common_strength is None


async def test_a_camera_with_other_settings_is_reckoned_with(baseline):
    then = CameraControlState(powered=True, exposure_us=10_000, f_number=2.8, gain_db=0)
    now = then.model_copy(update={"exposure_us": 5_000, "f_number": 4.0, "gain_db": 6.0})
    assert exposure_ratio(now, then) == pytest.approx(0.5 * (2.8 / 4) ** 2 * 10**0.3)
    assert exposure_ratio(None, then) == 1
    assert exposure_ratio(then.model_copy(update={"f_number": None}), then) == 1
    halved = await measured(strength=dict.fromkeys(CHANNELS, 0.5))
    found = compare_lamps(
        halved.model_copy(update={"controls": then.model_copy(update={"exposure_us": 5_000.0})}),
        baseline.model_copy(update={"controls": then}),
    )
    assert verdicts(found) == SOUND


async def test_a_baseline_that_saw_no_lamp_is_refused(baseline):
    dark = await measured(strength=dict.fromkeys(CHANNELS, 0))
    assert verdicts(compare_lamps(dark, baseline)) == dict.fromkeys(CHANNELS, "dark")
    with pytest.raises(LampsNotMeasurableError, match="saw no lamp"):
        compare_lamps(baseline, dark)
    with pytest.raises(LampsNotMeasurableError, match="never saw lamp key_left"):
        strength_of(baseline.lamp("key_left"), dark.lamp("key_left"))
