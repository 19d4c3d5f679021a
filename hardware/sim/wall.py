"""The booth's wall where no picture shows it: behind an absent sitter and around the rendered frame at the wide end of the zoom.

The wall is one smooth surface per light pass: a polynomial of second degree in x and y, fitted (in the pass's own 8-bit code) to the wall
above and beside a centred sitter, where his shadow does not fall. Below the shoulders, where no frame shows lit wall, it goes on flat.

Outside the rendered frame the surface goes on with its value at the frame's border, plus the frame's own difference from the surface, which
fades with distance: no step and no line at the seam. The sitter's shoulders go on as a plain torso of the colour at the border.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from hardware.sim.passes import CHANNELS, Source, read_pass

if TYPE_CHECKING:
    import numpy.typing as npt

    from hardware.sim.passes import Image, Stack

    Floats = npt.NDArray[np.float32]

DEGREE: Final = 2
# Person against wall in the background pass, where the lamps light the wall and not the front of the person (8-bit code).
BODY_CONTRAST: Final = 40.0
WALL_CONTRAST: Final = 15.0  # how far a pass of the wall may be from the smooth surface (shadows included)
FADE_FRAMES: Final = 0.15  # how far outside the frame its difference from the surface has faded to 1/e, in frame widths
EDGE_PX: Final = 3  # the session frames ring in their outermost rows: not shown where the wall goes on around them
BAND_ROWS: Final = 256  # of a large picture at once: whole ones of floating-point numbers would need 60 MB each
COARSE: Final = 4  # the surroundings are computed at a quarter of the size: they hold nothing finer
SHOULDER_FRAMES: Final = 0.16  # how far a shoulder that leaves the frame goes on, in frame widths
SHOULDER_DROP: Final = 0.22  # and how far its outline falls on the way, in frame heights


# Rectangles (left, top, right, bottom; 0..1) of a session frame with the sitter in the middle that show nothing but wall.
WALL_FRAME: Final = Source("session", "22")
WALL_REGIONS: Final = ((0.0, 0.01, 1.0, 0.13), (0.0, 0.01, 0.10, 0.72), (0.92, 0.01, 1.0, 0.72))
LOWEST_SEEN: Final = 0.72


def _terms(positions: npt.NDArray[np.float64], lowest: float = 1.0) -> npt.NDArray[np.float64]:
    """Powers of a coordinate, clamped to where the wall was seen: beyond, the surface goes on flat."""
    centred = 2 * np.clip(positions, 0.0, lowest) - 1
    return np.stack([centred**power for power in range(DEGREE + 1)], axis=-1)


@functools.cache
def surface(channel: str) -> npt.NDArray[np.float64]:
    """The coefficients of one pass: [y power, x power, colour]."""
    pixels = read_pass(WALL_FRAME, channel, cv2.IMREAD_REDUCED_COLOR_8).astype(np.float64)
    height, width = pixels.shape[:2]
    ys, xs = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    keep = np.zeros((height, width), dtype=np.bool_)
    for left, top, right, bottom in WALL_REGIONS:
        keep |= (xs >= left)[None, :] & (xs < right)[None, :] & (ys >= top)[:, None] & (ys < bottom)[:, None]
    products = _terms(ys)[:, None, :, None] * _terms(xs)[None, :, None, :]
    solution = np.linalg.lstsq(products[keep].reshape(-1, (DEGREE + 1) ** 2), pixels[keep], rcond=None)[0]
    return np.asarray(solution, dtype=np.float64).reshape(DEGREE + 1, DEGREE + 1, 3)


def surface_at(channel: str, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]) -> Floats:
    """The wall on a grid of frame coordinates (0..1 inside the frame)."""
    powers = np.einsum("yi,ijc,xj->yxc", _terms(ys, LOWEST_SEEN), surface(channel), _terms(xs), optimize=True)
    return np.asarray(powers, dtype=np.float32)


def empty_pass(channel: str, size: tuple[int, int]) -> Image:
    """One light pass of the booth without anybody."""
    width, height = size
    xs, ys = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    wall = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, BAND_ROWS):
        band = surface_at(channel, xs, ys[top : top + BAND_ROWS])
        wall[top : top + BAND_ROWS] = np.clip(np.rint(band), 0, 255)
    return wall


def empty_booth(size: tuple[int, int]) -> Stack:
    """The light passes of the booth without anybody."""
    return tuple(empty_pass(channel, size) for channel in CHANNELS)


class Surroundings:
    """The surroundings of one frame placed at `inner` (left, top, width, height) of a picture of `size`."""

    def __init__(self, size: tuple[int, int], inner: tuple[int, int, int, int], background: Image) -> None:
        """`background` is the frame's background pass: it tells person from wall."""
        self.size = size
        self._width, self._height = max(1, size[0] // COARSE), max(1, size[1] // COARSE)
        scale_x, scale_y = self._width / size[0], self._height / size[1]
        left, top, width, height = inner
        self._inner = (
            round(left * scale_x),
            round(top * scale_y),
            max(2, round(width * scale_x)),
            max(2, round(height * scale_y)),
        )
        left, top, width, height = self._inner
        self._xs = (np.arange(self._width) - left + 0.5) / width
        self._ys = (np.arange(self._height) - top + 0.5) / height
        self._body = self._body_mask(background)

    def _small(self, pixels: Image) -> Floats:
        clean = pixels[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX]
        small = cv2.resize(clean, self._inner[2:], interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.float32)

    def _frame_axes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        _, _, width, height = self._inner
        return (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height

    def _body_mask(self, background: Image) -> npt.NDArray[np.bool_]:
        """Where, in the whole picture, the person's body goes on outside the frame."""
        small = self._small(background)
        difference = np.abs(small - surface_at("background", *self._frame_axes())).max(axis=2)
        body = difference > BODY_CONTRAST
        xs, ys = self._xs[None, :], self._ys[:, None]
        columns = np.clip(np.arange(self._width) - self._inner[0], 0, self._inner[2] - 1)
        below = (ys >= 1) & (xs >= 0) & (xs < 1) & body[-1][columns][None, :]
        mask = below | self._shoulder(body[:, 0], -xs, ys) | self._shoulder(body[:, -1], xs - 1, ys)
        self._place(mask, body)
        return np.asarray(mask, dtype=np.bool_)

    def _place(self, whole: npt.NDArray[Any], inside: npt.NDArray[Any]) -> None:
        """Puts what belongs to the frame at its place in the whole picture."""
        left, top, width, height = self._inner
        rows = slice(max(0, top), max(0, min(self._height, top + height)))
        columns = slice(max(0, left), max(0, min(self._width, left + width)))
        if rows.start < rows.stop and columns.start < columns.stop:
            whole[rows, columns] = inside[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]

    @staticmethod
    def _shoulder(
        border: npt.NDArray[np.bool_], outside: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        if not border[-1]:
            return np.zeros(np.broadcast_shapes(outside.shape, ys.shape), dtype=np.bool_)
        wall_rows = np.flatnonzero(~border)
        first_row = (int(wall_rows[-1]) + 1 if wall_rows.size else 0) / border.size
        share = np.clip(outside / SHOULDER_FRAMES, 0.0, 1.0)
        outline = first_row + SHOULDER_DROP * (1 - np.sqrt(1 - share**2))
        return np.asarray((outside >= 0) & (share < 1) & (ys >= outline), dtype=np.bool_)

    def around(self, channel: str, pixels: Image) -> Image:
        """One pass of the surroundings at the full size; its middle, where the frame goes, is meaningless. A screen does not light the wall."""
        if channel not in CHANNELS:
            return np.zeros((self.size[1], self.size[0], 3), np.uint8)
        small = self._small(pixels)
        width = self._inner[2]
        wall = surface_at(channel, self._xs, self._ys)
        rest = small - surface_at(channel, *self._frame_axes())
        is_wall = (np.abs(rest).max(axis=2) < WALL_CONTRAST).astype(np.float32)
        is_wall = np.asarray(cv2.erode(is_wall, np.ones((5, 5), np.uint8)), dtype=np.float32)
        rest = _smooth_over_gaps(rest, is_wall, max(3, width // 12))
        wall += self._continued(rest) * self._fade()[..., None]
        if self._body.any():
            soft = np.asarray(cv2.GaussianBlur(small, (0, 0), 2.0), dtype=np.float32)
            share = np.asarray(cv2.GaussianBlur(self._body.astype(np.float32), (0, 0), 0.8))[..., None]
            wall += (self._continued(soft) - wall) * share
        self._place(wall, small)
        coarse = np.clip(np.rint(wall), 0, 255).astype(np.uint8)
        return np.asarray(cv2.resize(coarse, self.size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    def _continued(self, inside: Floats) -> Floats:
        """The frame's border values carried outwards."""
        left, top, width, height = self._inner
        rows = np.clip(np.arange(self._height) - top, 0, height - 1)
        columns = np.clip(np.arange(self._width) - left, 0, width - 1)
        return inside[rows[:, None], columns[None, :]]

    def _fade(self) -> Floats:
        distance = np.maximum(
            np.maximum(-self._xs, self._xs - 1)[None, :], np.maximum(-self._ys, self._ys - 1)[:, None]
        )
        return np.exp(-np.maximum(distance, 0) / FADE_FRAMES).astype(np.float32)


def _smooth_over_gaps(values: Floats, weight: Floats, radius: int) -> Floats:
    """A blurred copy that looks only at pixels with weight; where none is near, at those farther away."""
    smooth = np.zeros_like(values)
    for factor in (16, 4, 1):
        size = (2 * factor * radius + 1, 2 * factor * radius + 1)
        total = np.asarray(cv2.blur(values * weight[..., None], size, borderType=cv2.BORDER_REFLECT), dtype=np.float32)
        share = np.asarray(cv2.blur(weight, size, borderType=cv2.BORDER_REFLECT), dtype=np.float32)[..., None]
        trust = np.clip(share / 0.25, 0.0, 1.0)
        smooth += (total / np.maximum(share, 1e-6) - smooth) * trust
    return smooth
