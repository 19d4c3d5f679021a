"""Self-tests with the printed test card at the head's place: sharpness, the camera's stand, grey that is grey. Somebody hangs the card up.

One still in the portrait light is read for all three (capture/test_card.py). Compared with the last calibration where there is one: a lens that lost a
fifth of its sharpness, a camera that was knocked, a white that drifted. Without one the limits are absolute and wider.
A card that is not found fails all three: whoever hung it up must know that nothing was proved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from booth.self_test import Measured
from capture.calibration import MEASURES, Calibration
from capture.calibration_run import CalibrationSettings
from capture.errors import CardNotReadableError
from capture.test_card import CardReading, read_card

if TYPE_CHECKING:
    from booth.bench import Bench
    from capture.station import Station

FOCUS, TILT, WHITE = "camera.focus", "camera.tilt", "camera.white_balance"
# Without a calibration. Sharpness: MTF50 of 0.08 cycles per pixel is a blur of 2.3 pixels (sigma; 0.1874/sigma for a Gaussian): eyelashes are gone.
# Stand: half of the 5 degrees that the eye line may lie off the axis (docs/height.md). Grey: a colour that is seen at a glance (CIE 116).
LEAST_MTF50 = 0.08
SOFT_FOLD = 4
MOST_TILT_DEG = 2.5
MOST_CHROMA = 3.0
# Against the calibration: what its drift allows (capture/calibration.py).
SHARPNESS_SHARE = 1 + (MEASURES["sharpness.mtf50"].low or 0.0) / 100
PITCH_DEG = MEASURES["geometry.pitch_zero"].high or 0.0
ROLL_DEG = MEASURES["geometry.roll"].high or 0.0
CHROMA_MORE = MEASURES["white_balance.neutral_error"].high or 0.0


async def card_seen(bench: Bench) -> Mapping[str, Measured]:
    """The card in a still, judged three ways."""
    known = await bench.blocking(bench.known_calibration)
    settings = bench.calibration_settings
    state = await bench.station.apply_controls()
    async with bench.lamps():
        try:
            fold, card = await _read(bench.station, settings, known)
        except CardNotReadableError:
            return dict.fromkeys((FOCUS, TILT, WHITE), Measured(None, "absent.card", "fail"))
    register_deg = 0.0 if state is None or state.tilt_deg is None else state.tilt_deg
    return {FOCUS: _focus(card, fold, known), TILT: _tilt(card, register_deg, known), WHITE: _white(card, known)}


async def _read(station: Station, settings: CalibrationSettings, known: Calibration | None) -> tuple[int, CardReading]:
    """The card, and how much smaller the picture had to be made. Raises CardNotReadableError, or the error of a device."""
    await station.set_levels(dict.fromkeys(station.lamps, station.nominal_pct))
    (still,) = await station.burst(1)
    try:
        fov_deg = settings.vertical_fov_deg if known is None else known.vertical_fov_deg
        try:
            return 1, read_card(still.pixels, vertical_fov_deg=fov_deg, distance_cm=settings.card_distance_cm)
        except CardNotReadableError:
            # What is too soft to be read is sharp again when it is made smaller: then the lens is out of focus, and the card hangs well.
            size = still.pixels.shape[1] // SOFT_FOLD, still.pixels.shape[0] // SOFT_FOLD
            small = np.asarray(cv2.resize(still.pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            reading = read_card(small, vertical_fov_deg=fov_deg, distance_cm=settings.card_distance_cm)
            return SOFT_FOLD, reading
    finally:
        still.wipe()  # the technician may have stood beside the card


def _focus(card: CardReading, fold: int, known: Calibration | None) -> Measured:
    """Where the contrast has fallen to half, in cycles per pixel of the still."""
    low = LEAST_MTF50 if known is None else known.sharpness.mtf50_cycles_px * SHARPNESS_SHARE
    if card.mtf50_cycles_px is None:  # the card is found, its edges are too soft to be read
        return Measured(None, "camera.unfocused", "fail", low=low)
    return Measured(card.mtf50_cycles_px / fold, "camera.unfocused", low=low)


def _tilt(card: CardReading, register_deg: float, known: Calibration | None) -> Measured:
    """How far the lens' axis lies from where it was, or from level; a camera that hangs askew fails it too."""
    zero_deg, upright_deg = (0.0, 0.0) if known is None else (known.pitch_zero_deg, known.roll_deg)
    pitch_deg, roll_deg = card.pose.elevation_deg - register_deg - zero_deg, card.pose.roll_deg - upright_deg
    most, most_roll = (MOST_TILT_DEG, MOST_TILT_DEG) if known is None else (PITCH_DEG, ROLL_DEG)
    if abs(roll_deg) > most_roll and abs(pitch_deg) <= most:
        return Measured(roll_deg, "camera.tilted", "fail", low=-most_roll, high=most_roll)
    return Measured(pitch_deg, "camera.tilted", low=-most, high=most)


def _white(card: CardReading, known: Calibration | None) -> Measured:
    """Chroma of the grey card."""
    high = MOST_CHROMA if known is None else known.white_balance.neutral_error + CHROMA_MORE
    return Measured(card.grey.chroma, "camera.cast", high=high)
