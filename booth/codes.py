"""Reading the code of a slip in the camera's pictures: QR, DataMatrix, PDF417, Code 128.

Square codes are read in any position. The two that are made of bars are found only when the bars stand nearly upright (measured: PDF417 up to 4
degrees), so each picture is looked at as it is and once more turned by the next of `TURNS_DEG`: within a second every way of holding a slip has had
its picture. The reader's own search in all directions finds less and, before a patterned background, takes twice the time. A picture without a code takes
5 ms (600 by 800) or 13 ms (960 by 1280) of one core; five are looked at in a second, and only while the booth asks for a code.

When several codes are seen, a slip comes first, then what may be a number, then the others.
"""

from __future__ import annotations

from itertools import cycle

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from crypto.application import parse_number
from crypto.errors import ApplicationNumberError
from crypto.slip import is_slip

SQUARES = zxingcpp.barcode_formats_from_str("QRCode|DataMatrix")
BARS = zxingcpp.barcode_formats_from_str("PDF417|Code128")
TURNS_DEG = (90.0, 8.0, -8.0, 82.0, 98.0)
SLIP, NUMBER, OTHER = range(3)  # which of several codes counts


class CodeReader:
    """Reads one picture after the other."""

    def __init__(self) -> None:
        self._turns = cycle(TURNS_DEG)

    def read(self, pixels: NDArray[np.uint8]) -> str | None:
        """The text of the code in the picture that matters most."""
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        found = _texts(grey, SQUARES, rotated=True)
        # A square code of somebody else may lie beside a slip of bars.
        if not any(_rank(text) == SLIP for text in found):
            found += _texts(grey, BARS) or _texts(_turned(grey, next(self._turns)), BARS)
        return min(found, key=_rank, default=None)


def _texts(grey: NDArray[np.uint8], formats: zxingcpp.BarcodeFormats, *, rotated: bool = False) -> list[str]:
    codes = zxingcpp.read_barcodes(grey, formats=formats, try_rotate=rotated, try_invert=False)
    return [str(code.text) for code in codes if code.valid and code.text]


def _rank(text: str) -> int:
    if is_slip(text):
        return SLIP
    try:
        parse_number(text)
    except ApplicationNumberError:
        return OTHER
    return NUMBER


def _turned(grey: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """The picture turned about its middle, nothing cut off."""
    height, width = grey.shape
    turn = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0), dtype=np.float64)
    before = np.array((width, height), dtype=np.float64)
    across = np.abs(turn[:, :2]) @ before
    turn[:, 2] += (across - before) / 2
    size = int(np.ceil(across[0])), int(np.ceil(across[1]))
    return np.asarray(cv2.warpAffine(grey, turn, size, borderValue=255), dtype=np.uint8)
