"""A booth for calibrations without devices: lamps, a camera with gains and focus, an empty wall or the test card, all of it at once."""

from __future__ import annotations

import asyncio
import functools
import time

import numpy as np

from capture.station import CameraControlSection, LightsSection, Station, StationSettings
from hardware.camera import CameraImage, CameraSettings
from hardware.controls import CameraControlState
from hardware.errors import ControlRefusedError
from hardware.lights import CHANNELS, SegmentMap
from hardware.link import DeviceState, DeviceStatus
from tests.card_pictures import card_picture, encoded, linear

PREVIEW, STILL = (300, 400), (720, 960)
WALL = (30, 40)  # a plain wall shows no more in more pixels
CAMERA = CameraSettings(url="http://127.0.0.1:1/preview.mjpg")
CONTROLS = CameraControlSection(url="visca+serial:///dev/x")
LIGHTS = LightsSection(
    url="wled+serial:///dev/x", channels={name: SegmentMap(segment=number) for number, name in enumerate(CHANNELS)}
)
IN_FOCUS = 0x6000
# Both at once: the whole of light is 1 at the nominal levels.
SHARE = {"key_left": 0.3, "key_right": 0.3, "fill_top": 0.3, "background": 0.1}


@functools.cache
def reflects(size, card, sigma_px, camera):
    """Linear light of what hangs before the camera, under light 1."""
    if card:
        return linear(card_picture(size=size, sigma_px=sigma_px * size[1] / 960, **dict(camera)))
    width, height = size
    return 0.6 - 0.05 * np.linspace(-1, 1, width)[None, :, None] ** 2 * np.ones((height, 1, 3))


class CalibrationBooth:
    """Camera, controls and lamps in one."""

    acknowledged_by = "echo"

    def __init__(self, *, cast=(1.0, 1.0, 1.0), ambient=0.02, **camera):
        self.status = DeviceStatus("booth", "x", DeviceState.READY, 0)
        self.levels_pct = dict.fromkeys(CHANNELS, 15.0)
        self.cast = np.array(cast)  # blue, green, red
        self.ambient = ambient
        self.camera = tuple(sorted(camera.items()))
        self.card = False
        self.sequence = 0
        self.state = CameraControlState(
            powered=True,
            exposure_mode="auto",
            exposure_us=16_667,
            f_number=4.0,
            gain_db=0.0,
            white_balance="auto",
            red_gain=128,
            blue_gain=128,
            focus_mode="auto",
            focus_position=0x5000,
            tilt_deg=1.0,
        )
        self.applied = []
        self.newest = None
        self._noise = np.random.default_rng(5).normal(0, 0.8, (16, *PREVIEW[::-1], 3)).astype(np.float32)

    def station(self, controls=CONTROLS, lights=LIGHTS):
        return Station(
            StationSettings(camera=CAMERA, controls=controls, lights=lights),
            self,
            None if controls is None else self.control,
            None if lights is None else self.lamp,
        )

    # lamps
    @property
    def lamp(self):
        return self

    async def set_levels(self, levels_pct):
        self.levels_pct = {**self.levels_pct, **levels_pct}
        return self.levels_pct

    # camera
    def picture(self, size):
        light = self.ambient + sum(SHARE[name] * level / 62.5 for name, level in self.levels_pct.items())
        sigma_px = 0.7 + abs(self.state.focus_position - IN_FOCUS) / 0x800
        # Gains of real cameras are not proportional.
        gains = np.array([(self.state.blue_gain or 128) / 128, 1.0, (self.state.red_gain or 128) / 128]) ** 0.7
        return encoded(reflects(size, self.card, sigma_px, self.camera) * light * self.cast * gains)

    def shot(self, size):
        self.sequence += 1
        codes = self.lit(size, tuple(sorted(self.levels_pct.items())), self.state, self.card, tuple(self.cast))
        if size != STILL:
            codes = codes + self._noise[self.sequence % len(self._noise)][: size[1], : size[0]]
        pixels = np.rint(np.clip(codes, 0, 255)).astype(np.uint8)
        return CameraImage(pixels, time.monotonic_ns(), self.sequence, "PNG", False)

    @functools.lru_cache(maxsize=4)  # noqa: B019 - lives as long as a test
    def lit(self, size, *_key):
        return self.picture(size).astype(np.float32)

    def preview(self):
        return self.newest

    async def next_preview(self, after_sequence, timeout_s):
        await asyncio.sleep(0)
        self.newest = self.shot(PREVIEW if self.card else WALL)
        return self.newest

    async def still(self, timeout_s=5.0):
        return self.shot(STILL)

    # control
    @property
    def control(self):
        return Control(self)


class Control:
    """The camera's own control."""

    def __init__(self, booth):
        self.booth = booth
        self.status = booth.status

    async def read(self):
        return self.booth.state

    async def apply(self, settings):
        given = settings.model_dump(exclude_none=True)
        self.booth.applied.append(given)
        self.booth.state = self.booth.state.model_copy(update=given)
        return self.booth.state

    async def focus_once(self):
        self.booth.state = self.booth.state.model_copy(update={"focus_position": IN_FOCUS})

    async def measure_white_balance(self):
        if self.booth.state.white_balance != "one_push":
            raise ControlRefusedError("The camera is not in one-push mode.")
        self.booth.cast = np.ones(3)
