"""Self-tests of the light: each lamp as the camera sees it on the empty booth's wall, and whether the camera's exposure obeys.

The lamps are measured once for all of them (capture/lamp_response.py: each alone at full drive, soft steps) and compared with the last calibration
(capture/lamp_comparison.py). Without a calibration a lamp that gives no light is found all the same; of the others nothing can be said.
Something that was not there at the calibration (a person, the test card) gives light a shape that no lamp has: then nothing is said of lamps.
A lamp without light may be broken, without supply, or listening to an address that nobody uses: from the picture these are one, and the remedy
goes through them in this order. A lamp that follows another's channel is seen and named.

Drift: the colour of each lamp now against the calibration, and the last calibration against its own baseline; the value is the largest share of a
change that is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from booth.self_test import Measured
from capture.calibration import LAMP_COLOUR_PCT, Calibration, Drift, drift
from capture.errors import LampsNotMeasurableError
from capture.lamp_comparison import LampComparison, LampVerdict, LampView, compare_lamps, exposure_ratio
from capture.lamp_response import FRAMES, Grid, LampResponses, measure_lamps, read_grid
from crypto.errors import CryptoError
from hardware.controls import CameraControlSettings, CameraControlState, ExposureMode
from hardware.lights import CHANNELS

if TYPE_CHECKING:
    from booth.bench import Bench
    from capture.station import Station

FULL_DRIVE = (100.0,)
CAUSES: Mapping[LampVerdict, str] = MappingProxyType(
    {
        LampVerdict.WEAK: "lamp.weak",
        LampVerdict.STRONG: "lamp.strong",
        LampVerdict.DARK: "lamp.dark",
        LampVerdict.SWAPPED: "lamp.swapped",
        LampVerdict.MISADDRESSED: "lamp.misaddressed",
    }
)
# Lamps that their own channel lights, and no other's.
OWN_LIGHT = frozenset({LampVerdict.SOUND, LampVerdict.WEAK, LampVerdict.STRONG})
# Measured at the virtual booth: whatever is wrong with lamps or lens, a mixture of the lamps' patterns explains all but 0.005 of the light; a person
# leaves 0.12, the test card 0.24 or more.
OBSTRUCTED = 0.05
DRIFT = "calibration.drift"
# One stop less light: seen far above the noise, and no camera clips by it.
STOP = 2.0
# A camera that reads back less of the stop it was told was not set: a shutter's coarsest step is half a stop.
LEAST_STOPS = 0.4
LEAST_LIGHT = 0.01  # of the sensor's white: darker pictures do not tell half of themselves from noise


def lamp_check(lamp: str) -> str:
    """The id of a lamp's check."""
    return f"lamp.{lamp}"


async def lamps_seen(bench: Bench) -> Mapping[str, Measured]:
    """Every lamp, and the drift of all."""
    ids = [lamp_check(lamp) for lamp in CHANNELS]
    if not bench.station.lamps:
        return dict.fromkeys([*ids, DRIFT], Measured(None, "absent.lamps", "not_assessed"))
    try:
        async with bench.lamps():
            now = await measure_lamps(bench.station, drives_pct=FULL_DRIVE)
    except LampsNotMeasurableError:
        return dict.fromkeys([*ids, DRIFT], Measured(None, "lamps.unmeasurable", "fail"))
    try:
        known = await bench.blocking(bench.calibration)
        first = None if known is None or known.baseline_id is None else await bench.blocking(bench.baseline)
    except (CryptoError, OSError):
        return {**_unknown(now), DRIFT: Measured(None, "calibration.unusable", "fail")}
    if known is None or known.lamps is None or not any(each.is_seen for each in known.lamps.lamps):
        return {**_unknown(now), DRIFT: Measured(None, "absent.calibration", "not_assessed")}
    if unexplained(now, known.lamps) > OBSTRUCTED:
        return dict.fromkeys([*ids, DRIFT], Measured(None, "lamps.obstructed", "fail"))
    found = compare_lamps(now, known.lamps)
    judged = {lamp_check(view.lamp): _judged(view, found) for view in found.lamps}
    return {**_unknown(now), **judged, DRIFT: _drifted(found, known, first)}


def unexplained(now: LampResponses, known: LampResponses) -> float:
    """How much of a channel's light, at most, no mixture of the known lamps' patterns explains, as a share."""
    patterns = np.stack([_green(each.pattern) for each in known.lamps if each.is_seen], axis=1)
    shares = []
    for each in now.lamps:
        light, usual = _green(each.pattern), known.lamp(each.lamp)
        mixture = patterns @ np.linalg.lstsq(patterns, light, rcond=None)[0]
        # Of a lamp that is nearly dark the noise must not count as a shape.
        size = max(
            float(np.linalg.norm(light)), 1e-9 if usual is None else float(np.linalg.norm(_green(usual.pattern))) / 2
        )
        shares.append(float(np.linalg.norm(light - mixture)) / size)
    return max(shares)


def _green(pattern: Grid) -> NDArray[np.float64]:
    return np.asarray(pattern, dtype=np.float64)[..., 1].ravel()


def _unknown(now: LampResponses) -> dict[str, Measured]:
    """Without anything to compare with."""
    return {
        lamp_check(one.lamp): (
            Measured(None, "absent.calibration", "not_assessed")
            if one.is_seen
            else Measured(0.0, "lamp.dark", "fail", {"lamp": one.lamp})
        )
        for one in now.lamps
    }


def _judged(view: LampView, found: LampComparison) -> Measured:
    """What is told of one lamp."""
    value = view.strength * 100
    about = {"lamp": view.lamp, "percent": f"{value:.0f}"}
    common = found.common_strength
    if view.verdict in {LampVerdict.WEAK, LampVerdict.STRONG} and common is not None:
        return Measured(value, "lamp.all", None, {"percent": f"{common * 100:.0f}"})
    if view.verdict in {LampVerdict.SWAPPED, LampVerdict.MISADDRESSED}:
        other = next(each for each in view.lit_by if each != view.lamp)
        return Measured(value, CAUSES[view.verdict], "fail", about | {"other": other})
    if view.verdict is LampVerdict.DARK:
        return Measured(value, CAUSES[view.verdict], "fail", about)
    return Measured(value, CAUSES.get(view.verdict), None, about if view.verdict in CAUSES else {})


def _drifted(found: LampComparison, known: Calibration, first: Calibration | None) -> Measured:
    """The largest share of an allowed change, in percent."""
    # A lamp that is dark or on another's channel has a finding of its own.
    own = [each for each in found.lamps if each.verdict in OWN_LIGHT]
    shifts = [max(abs(each.red_shift), abs(each.blue_shift)) for each in own]
    shares = [100 * shift / LAMP_COLOUR_PCT for shift in shifts]
    if first is not None:
        shares += [share_of(row) for row in drift(known, first)]
    return Measured(max(shares, default=0.0) * 100)


def share_of(row: Drift) -> float:
    """A change as a share of what is allowed in its direction; none where that direction has no limit."""
    limit = row.high if row.change > 0 else row.low
    return 0.0 if limit is None or limit == 0 else max(row.change / limit, 0.0)


async def exposure_control(bench: Bench) -> Measured:
    """How much of a stop the picture follows when the camera is told to expose for half the time, in percent."""
    station = bench.station
    before = await station.read_controls()
    if before is None or before.exposure_us is None:
        return Measured(None, "absent.controls", "not_assessed")
    back = CameraControlSettings(exposure_mode=before.exposure_mode, exposure_us=_unless_auto(before))
    async with bench.lamps() as levels:
        await station.set_levels(dict.fromkeys(levels, _portrait_pct(bench)))
        try:
            full = await station.set_camera(
                CameraControlSettings(exposure_mode=ExposureMode.MANUAL, exposure_us=before.exposure_us)
            )
            light = await _light(station)
            half = await station.set_camera(CameraControlSettings(exposure_us=before.exposure_us / STOP))
            less = await _light(station)
        finally:
            await station.set_camera(back)
    if light < LEAST_LIGHT:
        return Measured(None, "camera.unseen", "not_assessed")
    asked, seen = np.log2(exposure_ratio(full, half)), np.log2(light / max(less, 1e-6))
    if asked < LEAST_STOPS:
        return Measured(0.0)  # by its own word it did not do what it was told
    return Measured(float(100 * seen / asked))


def _unless_auto(state: CameraControlState) -> float | None:
    """The exposure time to go back to; an automatic one finds its own."""
    return None if state.exposure_mode is ExposureMode.AUTO else state.exposure_us


def _portrait_pct(bench: Bench) -> float:
    lights = bench.config.lights
    return 0.0 if lights is None else lights.nominal_pct


async def _light(station: Station) -> float:
    """Mean linear light of a few pictures that were exposed after the last change; the first two may still be older."""
    newest = station.preview()
    sequence = -1 if newest is None else newest.sequence
    values: list[float] = []
    while len(values) < FRAMES:
        frame = await station.next_preview(sequence)
        sequence = frame.sequence
        if frame.at_ns > station.settled_ns:
            values.append(float(read_grid(frame.pixels)[0].mean()))
    return float(np.median(values[2:]))
