"""The codes of slips in the camera's pictures: four kinds, held as people hold them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import zxingcpp

from booth.codes import TURNS_DEG, CodeReader
from tests.vectors.make_slips import NUMBER, slip

SLIP = slip()
FORMAT = zxingcpp.BarcodeFormat
KINDS = {
    "QR": (FORMAT.QRCode, SLIP, 0.45, {"ec_level": "M"}),
    "DataMatrix": (FORMAT.DataMatrix, SLIP, 0.45, {"force_square": True}),
    "PDF417": (FORMAT.PDF417, SLIP, 0.9, {"options": "columns=5"}),
    "Code 128": (FORMAT.Code128, NUMBER, 0.8, {}),
}
SIZE = (600, 800)  # of a preview


def picture(*shown, tilt_deg=0.0):
    """Codes on white paper before a grey wall, one above the other."""
    wall = np.full((SIZE[1], SIZE[0]), 120, np.uint8)
    for place, (kind, text, share, options) in enumerate(shown, 1):
        drawn = zxingcpp.create_barcode(text, kind, **options)
        code = np.asarray(drawn.to_image(scale=8, add_quiet_zones=True)).astype(np.uint8)
        scale = SIZE[0] * share / max(code.shape)
        code = cv2.GaussianBlur(code, (0, 0), 0.4 / scale)
        middle = SIZE[0] / 2, SIZE[1] * place / (len(shown) + 1)
        turn = cv2.getRotationMatrix2D((code.shape[1] / 2, code.shape[0] / 2), tilt_deg, scale)
        turn[:, 2] += np.subtract(middle, (code.shape[1] / 2, code.shape[0] / 2))
        cv2.warpAffine(code, turn, SIZE, wall, borderMode=cv2.BORDER_TRANSPARENT)
    noise = np.random.default_rng(7).normal(0, 3, wall.shape)
    grey = np.clip(30 + 0.8 * wall + noise, 0, 255).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)


@pytest.mark.parametrize("tilt_deg", [0, 3, -8, 90, 180])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_however_the_slip_is_held(kind, tilt_deg):
    reader, shown = CodeReader(), picture(KINDS[kind], tilt_deg=tilt_deg)
    seen = [reader.read(shown) for _ in range(len(TURNS_DEG))]
    assert KINDS[kind][1] in seen
    assert set(seen) <= {KINDS[kind][1], None}


def test_a_slip_comes_before_other_codes():
    other = (FORMAT.QRCode, "https://example.org/menu", 0.25, {})
    bare = (FORMAT.QRCode, NUMBER, 0.25, {})
    slip_code = (FORMAT.QRCode, SLIP, 0.45, {})
    assert CodeReader().read(picture(other, slip_code)) == SLIP
    assert CodeReader().read(picture(bare, slip_code)) == SLIP
    assert CodeReader().read(picture(other, bare)) == NUMBER
    assert CodeReader().read(picture(other, KINDS["PDF417"])) == SLIP
    assert CodeReader().read(picture(other)) == "https://example.org/menu"


def test_a_picture_without_a_code_has_none():
    assert CodeReader().read(picture()) is None
    assert CodeReader().read(np.zeros((2, 3, 3), np.uint8)) is None
