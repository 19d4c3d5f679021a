"""What a calibration measures, one thing at a time: dark picture, wall, white balance, exposure, noise.

Every measurement looks at preview pictures that were exposed after the last change of lamps or camera, and some more pass first: cameras need a
few frames until a setting shows (V4L2 drivers queue up to four). White balance goes through the control seam: gains are turned until the grey
card is neutral in linear light, each guess from how the last ones answered; a camera without gains measures white itself (one-push); without
control the result is only measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.calibration import BackgroundGrey, WhiteBalanceResult
from capture.errors import WhiteNotNeutralError
from capture.frames import Frame
from capture.lamp_response import read_grid
from capture.station import Station
from hardware.controls import CameraControlSettings, CameraControlState, WhiteBalance
from validation.canvas import LINEAR
from validation.colour import lab_d50

__all__ = ["Box", "balance_white", "fresh_frames", "grey_light", "read_dark", "read_wall", "temporal_noise"]

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom
# Pictures that pass after a change before one counts.
SETTLE_FRAMES = 3
GREY_FRAMES, NOISE_FRAMES = 4, 8
# Noise is told from every fourth row and column: a full preview in eight pictures would be 46 MB.
NOISE_STEP = 4
GAIN_TURNS = 6
# Of red or blue against green: half a step of a gain of 128, and below what a mean of pictures can tell apart.
NEUTRAL_ENOUGH = 0.004
LEAST_GAIN, MOST_GAIN = 1, 255
# How a gain register answers, in the logarithm: 1 is proportional; what is measured is kept within these.
LEAST_SLOPE, MOST_SLOPE = 0.3, 3.0
# Chroma of the grey card from where on its colour is seen at a glance (CIE 116: about 3 in CIELAB).
MOST_CHROMA = 3.0


async def fresh_frames(station: Station, count: int) -> list[Frame]:
    """The next pictures that show lamps and camera as they are now; raises a CameraError."""
    newest = station.preview()
    sequence = -1 if newest is None else newest.sequence
    passed, frames = 0, list[Frame]()
    while len(frames) < count:
        frame = await station.next_preview(sequence)
        sequence = frame.sequence
        if frame.at_ns <= station.settled_ns:
            continue
        passed += 1
        if passed > SETTLE_FRAMES:
            frames.append(frame)
    return frames


def temporal_noise(pictures: Sequence[Image]) -> float:
    """Spread from picture to picture, 8-bit codes, root mean square over the pixels."""
    stack = np.stack([picture[::NOISE_STEP, ::NOISE_STEP] for picture in pictures]).astype(np.float32)
    return float(np.sqrt(stack.var(axis=0, ddof=1).mean()))


async def read_dark(station: Station) -> tuple[float, float]:
    """Mean code and noise with the lamps as they are: dark, when they are off."""
    pictures = [frame.pixels for frame in await fresh_frames(station, NOISE_FRAMES)]
    return float(np.mean([picture.mean() for picture in pictures])), temporal_noise(pictures)


async def read_wall(station: Station) -> BackgroundGrey:
    """The empty booth's wall in the present light."""
    grids = [read_grid(frame.pixels)[0] for frame in await fresh_frames(station, GREY_FRAMES)]
    grid = np.mean(grids, axis=0)
    lightness, a, b = lab_d50(encoded(grid.mean(axis=(0, 1))))
    green = grid[..., 1]
    evenness = 100 * float(green.min()) / max(float(green.max()), 1e-6)
    return BackgroundGrey(
        lightness=round(max(lightness, 0.0), 3), chroma=round(math.hypot(a, b), 3), evenness_pct=round(evenness, 3)
    )


async def grey_light(station: Station, box: Box) -> NDArray[np.float64]:
    """Linear light of the grey card, blue, green, red, mean of some pictures."""
    left, top, right, bottom = box
    means = [
        (LINEAR[frame.pixels[top:bottom, left:right]] / 255).mean(axis=(0, 1), dtype=np.float64)
        for frame in await fresh_frames(station, GREY_FRAMES)
    ]
    return np.asarray(np.mean(means, axis=0), dtype=np.float64)


def encoded(light_bgr: NDArray[np.floating]) -> NDArray[np.float64]:
    """Linear light 0..1 as sRGB codes 0..255."""
    light = np.clip(np.asarray(light_bgr, dtype=np.float64), 0, 1)
    return np.asarray(255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055))


@dataclass(frozen=True, slots=True)
class _Trial:
    """Gains, and how the grey card came out with them."""

    red_gain: int
    blue_gain: int
    light: NDArray[np.float64]

    @property
    def red(self) -> float:
        """Red / green, 1 = neutral."""
        return float(self.light[2] / self.light[1])

    @property
    def blue(self) -> float:
        """Blue / green."""
        return float(self.light[0] / self.light[1])

    @property
    def off(self) -> float:
        """How far from neutral, in the worse colour."""
        return max(abs(self.red - 1), abs(self.blue - 1))


async def balance_white(station: Station, box: Box) -> WhiteBalanceResult:
    """Makes the grey card neutral; raises WhiteNotNeutralError when the camera cannot, or the error of a device."""
    state = station.control_state
    light = await grey_light(station, box)
    if light[1] <= 0:
        raise WhiteNotNeutralError("The grey card is black: switch the lamps on, raise the camera's exposure.")
    configured = station.configured
    is_free = configured.red_gain is None and configured.blue_gain is None
    controlled = is_free and configured.white_balance in {None, WhiteBalance.MANUAL}
    if state is not None and controlled and state.red_gain is not None and state.blue_gain is not None:
        light = await _turn_gains(station, box, _Trial(state.red_gain, state.blue_gain, light))
    elif state is not None and controlled and state.white_balance is not None:
        await station.set_camera(CameraControlSettings(white_balance=WhiteBalance.ONE_PUSH))
        await station.measure_white_balance()
        light = await grey_light(station, box)
    result = _result(light, station.control_state)
    if state is not None and result.neutral_error > MOST_CHROMA:
        raise WhiteNotNeutralError(
            f"The grey card keeps a chroma of {result.neutral_error:.1f} ({MOST_CHROMA:g} is allowed; red/green {result.red_to_green:.2f}, "
            f"blue/green {result.blue_to_green:.2f}): is a grey card fixed on the field, do all lamps have one colour, "
            "are gains fixed in [controls.settings]?"
        )
    return result


async def _turn_gains(station: Station, box: Box, first: _Trial) -> NDArray[np.float64]:
    """Turns red and blue gain until the card is neutral or nothing gets better; the best gains stay set."""
    trials = [first]
    slopes = [1.0, 1.0]
    while len(trials) <= GAIN_TURNS and trials[-1].off > NEUTRAL_ENOUGH:
        last = trials[-1]
        if len(trials) > 1:
            before = trials[-2]
            slopes = [
                _slope(slopes[0], (before.red_gain, before.red), (last.red_gain, last.red)),
                _slope(slopes[1], (before.blue_gain, before.blue), (last.blue_gain, last.blue)),
            ]
        gains = _next_gain(last.red_gain, last.red, slopes[0]), _next_gain(last.blue_gain, last.blue, slopes[1])
        if gains in {(trial.red_gain, trial.blue_gain) for trial in trials}:
            break
        await _set_gains(station, *gains)
        trials.append(_Trial(*gains, await grey_light(station, box)))
    best = min(trials, key=lambda trial: trial.off)
    if best is not trials[-1]:
        await _set_gains(station, best.red_gain, best.blue_gain)
    return best.light


async def _set_gains(station: Station, red: int, blue: int) -> None:
    await station.set_camera(CameraControlSettings(white_balance=WhiteBalance.MANUAL, red_gain=red, blue_gain=blue))


def _slope(known: float, before: tuple[int, float], last: tuple[int, float]) -> float:
    """How the colour answers to its gain, from the last two trials."""
    if before[0] == last[0] or min(before[1], last[1]) <= 0:
        return known
    measured = math.log(last[1] / before[1]) / math.log(last[0] / before[0])
    return min(max(measured, LEAST_SLOPE), MOST_SLOPE)


def _next_gain(gain: int, ratio: float, slope: float) -> int:
    wanted = max(gain, LEAST_GAIN) * max(ratio, 1e-3) ** (-1 / slope)
    return int(min(max(round(wanted), LEAST_GAIN), MOST_GAIN))


def _result(light: NDArray[np.float64], state: CameraControlState | None) -> WhiteBalanceResult:
    _, a, b = lab_d50(encoded(light))
    return WhiteBalanceResult(
        red_gain=None if state is None else state.red_gain,
        blue_gain=None if state is None else state.blue_gain,
        neutral_error=round(math.hypot(a, b), 4),
        red_to_green=round(float(light[2] / light[1]), 5),
        blue_to_green=round(float(light[0] / light[1]), 5),
    )
