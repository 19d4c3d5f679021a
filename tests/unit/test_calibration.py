"""The value of a calibration: expiry, name, drift against the baseline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from capture.calibration import Calibration, drift
from tests.calibrations import MADE_AT, calibration, lamp_responses


def beyond(now, baseline=None):
    return {row.key for row in drift(now, baseline or calibration()) if row.beyond}


def test_it_survives_the_way_through_json_and_takes_nothing_unknown():
    made = calibration()
    assert Calibration.model_validate_json(made.model_dump_json()) == made
    with pytest.raises(ValidationError, match="extra"):
        Calibration.model_validate_json(made.model_dump_json()[:-1] + ',"owner":"x"}')
    for wrong in ({"pitch_zero_deg": float("nan")}, {"id": "../x"}, {"made_at": datetime(2026, 1, 1)}):  # noqa: DTZ001 - refused for that
        with pytest.raises(ValidationError):
            calibration(**wrong)


def test_it_expires_and_tells_its_age_and_name():
    made = calibration()
    last = MADE_AT + timedelta(days=90)
    assert not made.expired(last - timedelta(seconds=1))
    assert made.expired(last)
    assert made.age_days(MADE_AT + timedelta(hours=36)) == 1.5
    assert made.as_named(last) == {"id": made.id, "made_at": "2026-11-20T08:30:00+00:00", "expired": True}


def test_an_unchanged_booth_has_no_drift():
    rows = drift(calibration(made_at=datetime(2026, 11, 22, tzinfo=UTC)), calibration())
    assert not [row for row in rows if row.beyond or row.change]
    assert {"lamp.key_left", "lamp.fill_top.red", "geometry.pitch_zero", "sharpness.mtf50"} <= {r.key for r in rows}


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"pitch_zero_deg": 1.2}, {"geometry.pitch_zero"}),
        ({"pitch_zero_deg": 1.0}, set()),
        ({"roll_deg": -2.0}, {"geometry.roll"}),
        ({"camera_height_cm": 121.0}, {"geometry.camera_height"}),
        ({"lamps": lamp_responses(key_left=0.6)}, {"lamp.key_left"}),
        ({"lamps": lamp_responses(key_left=0.0)}, {"lamp.key_left"}),
        ({"lamps": None}, set()),
    ],
)
def test_what_drifted_is_told(changes, keys):
    assert beyond(calibration(**changes)) == keys


def test_relative_limits_are_relative_and_better_values_are_no_drift():
    made = calibration()
    softer = made.sharpness.model_copy(update={"mtf50_lines": 480.0})
    sharper = made.sharpness.model_copy(update={"mtf50_lines": 900.0})
    assert beyond(calibration(sharpness=softer)) == {"sharpness.mtf50"}
    assert not beyond(calibration(sharpness=sharper))
    row = next(r for r in drift(calibration(sharpness=softer), made) if r.key == "sharpness.mtf50")
    assert (row.value, row.baseline, row.change, row.low) == (480.0, 640.0, -25.0, -20.0)
    silent = calibration(noise=made.noise.model_copy(update={"grey": 0.0}))
    assert beyond(made, silent) == {"noise.grey"}
    assert not beyond(silent, silent)


def test_a_baseline_without_a_lamp_that_is_seen_is_compared_without_lamps():
    dark = calibration(lamps=lamp_responses(key_left=0, key_right=0, fill_top=0, background=0))
    assert not [row for row in drift(calibration(), dark) if row.key.startswith("lamp")]
