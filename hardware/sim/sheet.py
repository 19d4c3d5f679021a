"""The technician's test card in its holder at the head's place, as the camera sees it: geometry, print, and the light on it.

The card is one printed A4 sheet, upright, matt, facing the camera when the lens looks straight ahead. Places in mm from its top left corner:
four ArUco markers (DICT_4X4_50, 0 to 3) near the corners, six neutral patches, a grey card of 18 % fixed on it, and a black square turned by
5 degrees whose edges tell the sharpness (ISO 12233).

Order: printed reflectance (drawn once) -> perspective of the lens (pan, tilt, zoom, roll, height), finer than the picture and averaged down
-> the lens' own softness -> times the light of each pass. The light comes from where the lamps are, with distance squared and the cosine at
the sheet, so it is smooth and stronger on the lamp's side; it knows nothing of a face.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from hardware.sim.passes import CHANNELS, EXPOSURE_SCALE, SRGB_TABLE, WHITE, decode_srgb

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from hardware.sim.passes import Image
    from hardware.sim.scene import Gains, Size

    Floats = npt.NDArray[np.float32]
    Matrix = npt.NDArray[np.float64]

# The rendered frame at the head: 24 degrees high (lens.py) and 420 mm (63 mm between the eyes are 192 of 1280 pixels), so 988 mm away.
FRAME_HEIGHT_DEG: Final = 24.0
FRAME_HEIGHT_MM: Final = 420.0
DISTANCE_MM: Final = FRAME_HEIGHT_MM / 2 / math.tan(math.radians(FRAME_HEIGHT_DEG / 2))
HEAD_CENTRE_Y: Final = 0.446  # of the frame: middle of crown and chin in labels.json
CENTRE_ABOVE_AXIS_MM: Final = (0.5 - HEAD_CENTRE_Y) * FRAME_HEIGHT_MM

SHEET_MM: Final = (210.0, 297.0)
MARKERS_MM: Final = ((10.0, 10.0), (170.0, 10.0), (10.0, 257.0), (170.0, 257.0))
MARKER_SIDE_MM: Final = 30.0
PATCHES: Final = ((45.0, 243), (65.0, 200), (85.0, 160), (105.0, 122), (125.0, 85), (145.0, 52))  # left edge, sRGB code
PATCH_TOP_MM, PATCH_SIDE_MM = 15.0, 20.0
GREY_MM: Final = (20.0, 70.0, 190.0, 190.0)  # left, top, right, bottom
GREY_CODE: Final = 118
EDGE_CENTRE_MM, EDGE_SIDE_MM, EDGE_TURN_DEG, EDGE_CODE = (105.0, 228.0), 40.0, 5.0, 20
PAPER: Final = 0.90  # reflectance of matt paper: what is printed is that much darker; the grey card is none of it
PRINT_PX_PER_MM: Final = 8
LENS_SIGMA_PX: Final = 0.6  # of a frame 960 px wide: a good lens in focus
LIGHT_STEP_PX: Final = 8
SMALLEST_COVER: Final = 0.01
BAND_ROWS: Final = 256  # of a large picture at once

# Where each pass' light stands, in m from the sheet's middle (right, up, towards the camera), and its light there at level 1 (blue, green, red).
# The sum of all is 1: under the nominal light the card shows the codes it was printed with.
LAMP_PLACES_M: Final[Mapping[str, tuple[tuple[float, float, float], ...]]] = MappingProxyType(
    {
        "key_left": ((-0.55, 0.0, 0.80),),
        "key_right": ((0.55, 0.0, 0.80),),
        "fill_top": ((0.0, 0.40, 0.95), (0.0, -0.30, 0.95)),
        "background": ((0.0, 1.2, 3.0),),  # what comes back from the walls behind the camera
        "ambient": ((0.0, 1.2, 2.0),),
    }
)
LAMP_LIGHT: Final[Mapping[str, Gains]] = MappingProxyType(
    {
        "key_left": (0.30, 0.30, 0.30),
        "key_right": (0.30, 0.30, 0.30),
        "fill_top": (0.31, 0.31, 0.31),
        "background": (0.02, 0.02, 0.02),
        "ambient": (0.047, 0.07, 0.094),
    }
)
# For the light meter: how much of the frame the sheet covers, and what it reflects on the whole.
COVERS: Final = SHEET_MM[0] * SHEET_MM[1] / (FRAME_HEIGHT_MM**2 * 3 / 4)


@dataclass(frozen=True, slots=True)
class Aim:
    """How the lens stands to the card."""

    magnification: float = 1.0
    pan_deg: float = 0.0
    tilt_deg: float = 0.0  # up
    roll_deg: float = 0.0  # the picture turns clockwise
    lens_above_mm: float = 0.0  # higher than where the card's holder was made for


def homography(aim: Aim, size: Size) -> Matrix:
    """From mm on the sheet to pixels (pixel centres at .5)."""
    width, height = size
    focal_px = height / 2 / math.tan(math.radians(FRAME_HEIGHT_DEG / 2)) * aim.magnification
    pan, tilt, roll = (math.radians(angle) for angle in (aim.pan_deg, aim.tilt_deg, aim.roll_deg))
    # Sheet to room: x right, y down, z away from the lens.
    above = CENTRE_ABOVE_AXIS_MM - aim.lens_above_mm
    room = np.array([[1, 0, -SHEET_MM[0] / 2], [0, 1, -SHEET_MM[1] / 2 - above], [0, 0, DISTANCE_MM]])
    turn_up = np.array([[1, 0, 0], [0, math.cos(tilt), math.sin(tilt)], [0, -math.sin(tilt), math.cos(tilt)]])
    turn_right = np.array([[math.cos(pan), 0, -math.sin(pan)], [0, 1, 0], [math.sin(pan), 0, math.cos(pan)]])
    lens = np.array([[focal_px, 0, 0], [0, focal_px, 0], [0, 0, 1]])
    turn_picture = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    middle = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    return np.asarray(middle @ turn_picture @ lens @ turn_up @ turn_right @ room, dtype=np.float64)


def _box(print_: Floats, left: float, top: float, right: float, bottom: float, value: float) -> None:
    k = PRINT_PX_PER_MM
    print_[round(top * k) : round(bottom * k), round(left * k) : round(right * k)] = value


@functools.cache
def printed() -> npt.NDArray[np.uint16]:
    """The sheet's reflectance, 65535 for all light."""
    k = PRINT_PX_PER_MM
    sheet = np.full((round(SHEET_MM[1] * k), round(SHEET_MM[0] * k)), PAPER, dtype=np.float32)
    reflects = decode_srgb(np.arange(256) / 255)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    for number, (left, top) in enumerate(MARKERS_MM):
        side = round(MARKER_SIDE_MM * k)
        code = np.asarray(cv2.aruco.generateImageMarker(dictionary, number, side), dtype=np.float32) / 255
        x, y = round(left * k), round(top * k)
        sheet[y : y + side, x : x + side] = PAPER * np.maximum(code, float(reflects[EDGE_CODE]))
    for left, code_value in PATCHES:
        right, bottom = left + PATCH_SIDE_MM, PATCH_TOP_MM + PATCH_SIDE_MM
        _box(sheet, left, PATCH_TOP_MM, right, bottom, PAPER * float(reflects[code_value]))
    _box(sheet, *GREY_MM, float(reflects[GREY_CODE]))
    _slanted_square(sheet, PAPER * float(reflects[EDGE_CODE]))
    return np.rint(sheet * WHITE).astype(np.uint16)


def _slanted_square(sheet: Floats, value: float) -> None:
    """Drawn by the distance to its edges, so that they are straight to a small part of a pixel."""
    k, reach = PRINT_PX_PER_MM, EDGE_SIDE_MM
    left, top = (round((centre - reach) * k) for centre in EDGE_CENTRE_MM)
    part = sheet[top : top + 2 * round(reach * k), left : left + 2 * round(reach * k)]
    xs = (left + np.arange(part.shape[1]) + 0.5) / k - EDGE_CENTRE_MM[0]
    ys = (top + np.arange(part.shape[0]) + 0.5) / k - EDGE_CENTRE_MM[1]
    cosine, sine = math.cos(math.radians(EDGE_TURN_DEG)), math.sin(math.radians(EDGE_TURN_DEG))
    along = np.abs(cosine * xs[None, :] + sine * ys[:, None])
    across = np.abs(cosine * ys[:, None] - sine * xs[None, :])
    inside = EDGE_SIDE_MM / 2 - np.maximum(along, across)
    share = np.clip(inside * k + 0.5, 0, 1)
    part[:] = part * (1 - share) + value * share


class Sheet:
    """The card in one picture."""

    def __init__(self, aim: Aim, size: Size) -> None:
        self._size = size
        matrix = homography(aim, size)
        per_mm = aim.magnification * size[1] / FRAME_HEIGHT_MM
        finer = max(1, round(PRINT_PX_PER_MM / per_mm))
        # Pixel centres are at .5 in both pictures: in from the print's pixels, out to those of the enlarged picture.
        step = 1 / PRINT_PX_PER_MM
        print_px = np.array([[step, 0, step / 2], [0, step, step / 2], [0, 0, 1]])
        enlarged = np.array([[finer, 0, -0.5], [0, finer, -0.5], [0, 0, 1]])
        whole = enlarged @ matrix @ print_px
        self._cover = self._seen(np.full(printed().shape, WHITE, np.uint16), whole, finer)
        self._printed = self._seen(printed(), whole, finer)
        self._from_px = np.linalg.inv(matrix)

    def _seen(self, print_: npt.NDArray[np.uint16], matrix: Matrix, finer: int) -> npt.NDArray[np.uint16]:
        width, height = self._size
        fine = cv2.warpPerspective(print_, matrix, (width * finer, height * finer), flags=cv2.INTER_LINEAR)
        seen = cv2.resize(fine, self._size, interpolation=cv2.INTER_AREA) if finer > 1 else fine
        sigma = LENS_SIGMA_PX * width / 960
        return np.asarray(cv2.GaussianBlur(seen, (0, 0), sigma), dtype=np.uint16)

    def on(self, channel: str, pixels: Image) -> Image:
        """One pass with the card in front; of a display's light nothing falls on it."""
        light = self._light(channel) if channel in CHANNELS else None
        seen = np.empty_like(pixels)
        for top in range(0, self._size[1], BAND_ROWS):
            rows = slice(top, min(top + BAND_ROWS, self._size[1]))
            seen[rows] = self._band(channel, pixels[rows], rows, light)
        return seen

    def _band(self, channel: str, pixels: Image, rows: slice, light: Floats | None) -> Image:
        cover = np.asarray(self._cover[rows], dtype=np.float32) / np.float32(WHITE)
        lit = np.zeros_like(cover)
        if light is not None:
            steps = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * light.shape[0] / self._size[1] - 0.5
            columns = (np.arange(self._size[0], dtype=np.float32) + 0.5) * light.shape[1] / self._size[0] - 0.5
            xs, ys = np.meshgrid(columns, steps)
            smooth = cv2.remap(light, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            reflects = self._printed[rows] / np.float32(WHITE) / np.maximum(cover, SMALLEST_COVER)
            lit = np.minimum(reflects, 1) * np.asarray(smooth, dtype=np.float32)
        parts = []
        for index, colour in enumerate(LAMP_LIGHT.get(channel, (0.0, 0.0, 0.0))):
            linear = np.clip(lit * np.float32(EXPOSURE_SCALE * colour * WHITE), 0, WHITE).astype(np.uint16)
            code = np.asarray(cv2.LUT(linear, SRGB_TABLE), dtype=np.float32)
            parts.append(np.rint(pixels[..., index] * (1 - cover) + code * cover).astype(np.uint8))
        return np.asarray(cv2.merge(parts), dtype=np.uint8)

    def _light(self, channel: str) -> Floats:
        """The light on the sheet's plane, coarsely, 1 in its middle."""
        width, height = self._size
        coarse = (max(2, width // LIGHT_STEP_PX), max(2, height // LIGHT_STEP_PX))
        xs = (np.arange(coarse[0]) + 0.5) * width / coarse[0]
        ys = (np.arange(coarse[1]) + 0.5) * height / coarse[1]
        grid = np.stack([*np.meshgrid(xs, ys), np.ones(coarse[::-1])])
        sheet = np.einsum("ij,jyx->iyx", self._from_px, grid)
        right = (sheet[0] / sheet[2] - SHEET_MM[0] / 2) / 1000
        up = (SHEET_MM[1] / 2 - sheet[1] / sheet[2]) / 1000
        return light_at(channel, right, up).astype(np.float32)


def light_at(channel: str, right_m: Matrix, up_m: Matrix) -> Matrix:
    """The light of one pass on the sheet's plane, relative to its middle: the cosine of its fall over the distance squared."""
    total = np.zeros(np.shape(right_m))
    middle = 0.0
    for x, y, z in LAMP_PLACES_M[channel]:
        total += z / ((right_m - x) ** 2 + (up_m - y) ** 2 + z**2) ** 1.5
        middle += z / (x**2 + y**2 + z**2) ** 1.5
    return np.asarray(total / middle, dtype=np.float64)


@functools.cache
def mean_reflectance() -> float:
    """What the whole sheet reflects."""
    return float(printed().mean() / WHITE)
