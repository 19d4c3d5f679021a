"""Measures of the eyes and of what covers them. Each answers with a Measured or with the reason why it cannot be judged."""

from __future__ import annotations

from validation import geometry
from validation.context import Judgement
from validation.measured import CUT_OFF, PERCENT, Measured, points

# Calibrated, see docs/rules.md: open eyes measured from 0.24, bars, discs and dark glasses over them up to 0.10.
EYE_CONTRAST_LEAST = 0.15


def opening(judged: Judgement) -> Measured | str:
    """Lid gap of the less open eye / T."""
    lids = [i for pair in (*geometry.LIDS_RIGHT, *geometry.LIDS_LEFT) for i in pair]
    opening = geometry.eye_opening(judged.face.landmarks) * PERCENT
    limits = judged.profile.rules.get("eyes.open")
    if limits is None or limits.limit.holds(opening):  # closed lids need no proof of an eye between them
        contrast = judged.eye_contrast
        if contrast is None:
            return CUT_OFF
        if contrast < EYE_CONTRAST_LEAST:
            return "no eye is seen between the lids: something covers it (dark glasses, hair, cloth)"
    return Measured(opening, points(judged.face.landmarks[lids]))
