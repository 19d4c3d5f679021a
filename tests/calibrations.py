"""A plausible calibration for tests; every value can be replaced."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from capture.calibration import BackgroundGrey, Calibration, Exposure, Noise, Sharpness, WhiteBalanceResult
from capture.lamp_response import LampResponse, LampResponses
from hardware.controls import CameraControlState, ExposureMode, FocusMode, WhiteBalance
from hardware.lights import CHANNELS

MADE_AT = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
# Green light of each lamp at full drive, column for column, as on a wall.
PATTERNS = {
    "key_left": (0.16, 0.15, 0.13),
    "key_right": (0.13, 0.15, 0.16),
    "fill_top": (0.15, 0.11, 0.15),
    "background": (0.51, 0.49, 0.51),
}


def lamp_responses(**strengths: float) -> LampResponses:
    """Four lamps with their usual light, or so many times that."""
    lamps = tuple(
        LampResponse(
            lamp=name,
            drives_pct=(25.0, 50.0, 75.0, 100.0),
            shares=(0.25, 0.5, 0.75, 1.0),
            pattern=tuple(
                tuple((light * strengths.get(name, 1.0),) * 3 for light in PATTERNS[name]) for _row in range(4)
            ),
        )
        for name in CHANNELS
    )
    dark = ((((0.02,) * 3),) * 3,) * 4
    return LampResponses(
        at=MADE_AT, frame_width=600, frame_height=800, ambient=dark, ambient_change=0.0, noise=0.0001, lamps=lamps
    )


def calibration(**changes: Any) -> Calibration:
    """A calibration of a sound booth."""
    made_at = changes.get("made_at", MADE_AT)
    values: dict[str, Any] = {
        "id": f"{made_at:%Y%m%dT%H%M%SZ}-0a1b2c3d",
        "made_at": made_at,
        "expires_at": made_at + timedelta(days=90),
        "booth": "booth-0001",
        "software": "0.1.0",
        "baseline_id": None,
        "controls": CameraControlState(
            powered=True,
            exposure_mode=ExposureMode.MANUAL,
            exposure_us=16_666.7,
            f_number=4.0,
            gain_db=0.0,
            white_balance=WhiteBalance.MANUAL,
            red_gain=128,
            blue_gain=128,
            focus_mode=FocusMode.MANUAL,
            focus_position=0x6000,
            zoom_ratio=1.5,
            tilt_deg=0.0,
        ),
        "lamps": lamp_responses(),
        "white_balance": WhiteBalanceResult(
            red_gain=128, blue_gain=128, neutral_error=0.4, red_to_green=1.0, blue_to_green=1.0
        ),
        "exposure": Exposure(lamps_pct=dict.fromkeys(CHANNELS, 62.5), grey_light=0.18, error_stops=0.0),
        "background_grey": BackgroundGrey(lightness=82.0, chroma=1.2, evenness_pct=88.0),
        "pitch_zero_deg": 0.1,
        "roll_deg": -0.2,
        "yaw_deg": 0.0,
        "camera_height_cm": 125.0,
        "card_distance_cm": 98.8,
        "vertical_fov_deg": 24.0,
        "sharpness": Sharpness(mtf50_cycles_px=0.25, mtf50_lines=640.0, card_detail=0.3, focus_position=0x6000),
        "noise": Noise(dark_code=4.0, dark=0.8, grey=1.0),
    }
    return Calibration(**(values | changes))
