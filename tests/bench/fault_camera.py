"""Faults of camera, light and file: (portrait, strength) -> picture. Light is changed in linear light; noise is seeded.

Lengths are in pixels of the standard canvas (eye distance 113), so a strength means the same at any resolution.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from tests.bench.portraits import Portrait

SEED = 20261123
SMOOTH = 16  # supersampling of blur kernels


def to_linear(pixels: np.ndarray) -> np.ndarray:
    x = np.arange(256, dtype=np.float64) / 255
    table = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[pixels]


def to_srgb(light: np.ndarray) -> np.ndarray:
    x = np.clip(light, 0, 1)
    return to_pixels(255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055))


def to_pixels(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def face_luminance(p: Portrait) -> np.ndarray:
    """Linear luminance of the pixels of the face's hull."""
    region = np.zeros(p.pixels.shape[:2], np.uint8)
    cv2.fillConvexPoly(region, cv2.convexHull(np.rint(p.landmarks[:468, :2]).astype(np.int32)), 255)
    return (to_linear(p.pixels) @ np.array([0.0722, 0.7152, 0.2126], np.float32))[region > 0]


def _filtered(p: Portrait, kernel: np.ndarray) -> np.ndarray:
    return to_srgb(cv2.filter2D(to_linear(p.pixels), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE))


def defocus(p: Portrait, sigma: float) -> np.ndarray:
    """A lens out of focus: a disc whose spread per axis is `sigma` canvas pixels."""
    radius = 2 * sigma * p.canvas_px
    reach = math.ceil(radius) + 1
    side = (2 * reach + 1) * SMOOTH
    at = (np.arange(side) + 0.5) / SMOOTH - reach - 0.5
    disc = (at[:, None] ** 2 + at[None, :] ** 2 <= radius**2).astype(np.float32)
    return _filtered(p, cv2.resize(disc, (2 * reach + 1, 2 * reach + 1), interpolation=cv2.INTER_AREA))


def motion(p: Portrait, length: float, angle_deg: float = 20.0) -> np.ndarray:
    """The head or camera moved by `length` canvas pixels during the exposure."""
    half = length * p.canvas_px / 2
    reach = math.ceil(half) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for along in np.linspace(-half, half, 64 * reach + 1):
        x, y = along * math.cos(math.radians(angle_deg)) + reach, along * math.sin(math.radians(angle_deg)) + reach
        column, row = int(x), int(y)
        fx, fy = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - fy, fy], [1 - fx, fx])[
            : kernel.shape[0] - row, : kernel.shape[1] - column
        ]
    return _filtered(p, kernel)


def noise(p: Portrait, sigma: float) -> np.ndarray:
    """Independent noise of `sigma` grey levels in each channel."""
    return to_pixels(p.pixels + np.random.default_rng(SEED).normal(0, sigma, p.pixels.shape))


def underexposed(p: Portrait, stops: float) -> np.ndarray:
    return to_srgb(to_linear(p.pixels) * 2.0**-stops)


def overexposed(p: Portrait, level: float) -> np.ndarray:
    """So bright that the brightest tenth of the face would need `level` times full scale: the same fault on every skin."""
    return to_srgb(to_linear(p.pixels) * max(level / float(np.percentile(face_luminance(p), 90)), 1.0))


def washed_out(p: Portrait, lost: float) -> np.ndarray:
    """A share of the contrast lost around a light grey, as by fog or stray light."""
    return to_pixels(170 + (p.pixels - 170.0) * (1 - lost))


def _gains(p: Portrait, stops_bgr: tuple[float, float, float]) -> np.ndarray:
    return to_srgb(to_linear(p.pixels) * np.exp2(np.array(stops_bgr, np.float32)))


def cast_orange(p: Portrait, stops: float) -> np.ndarray:
    """Red over blue by `stops`, as under lamps warmer than the white balance."""
    return _gains(p, (-stops / 2, 0, stops / 2))


def cast_blue(p: Portrait, stops: float) -> np.ndarray:
    return _gains(p, (stops / 2, 0, -stops / 2))


def cast_green(p: Portrait, stops: float) -> np.ndarray:
    return _gains(p, (-stops / 3, stops * 2 / 3, -stops / 3))


def greyscale(p: Portrait, share: float) -> np.ndarray:
    """A share of the colour taken away; 1 is a grey picture."""
    grey = cv2.cvtColor(p.pixels, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)
    return to_pixels(p.pixels * (1 - share) + grey * share)


def side_shadow(p: Portrait, lost: float) -> np.ndarray:
    """The light on the person falls from full at one side of the face to 1 - `lost` at the other."""
    right, left = p.point(234)[0], p.point(454)[0]
    across = np.clip((p.grid[0] - right) / (left - right), 0, 1)[..., None]
    return to_srgb(to_linear(p.pixels) * (1 - lost * across * p.person))


def socket_shadow(p: Portrait, lost: float) -> np.ndarray:
    """Light from above only: soft shadows in the eye sockets and under the nose."""
    x, y = p.grid
    shade = np.zeros_like(x)
    for centre, wide, high in (
        (p.point(33, 133, 52), 0.33, 0.24),
        (p.point(362, 263, 282), 0.33, 0.24),
        (p.point(2, 0), 0.22, 0.12),
    ):
        far = ((x - centre[0]) / (wide * p.eye_distance)) ** 2 + ((y - centre[1]) / (high * p.eye_distance)) ** 2
        shade = np.maximum(shade, np.exp(-(far**2)))
    return to_srgb(to_linear(p.pixels) * (1 - lost * shade[..., None]))


def hot_spots(p: Portrait, radius_pct: float) -> np.ndarray:
    """Flash on moist skin: white spots of `radius_pct` % of the eye distance on forehead, nose and both cheeks."""
    x, y = p.grid
    radius = radius_pct / 100 * p.eye_distance
    weight = np.zeros_like(x)
    for centre in (p.point(151), p.point(4, 195), p.point(50), p.point(280)):
        far = np.hypot(x - centre[0], y - centre[1]) / radius
        weight = np.maximum(weight, np.clip((1.4 - far) / 0.8, 0, 1))
    light = to_linear(p.pixels)
    return to_srgb(light + (1.05 - light) * weight[..., None])


def posterised(p: Portrait, levels: float) -> np.ndarray:
    """Only so many grey levels in each channel."""
    return to_pixels(np.rint(p.pixels / 255 * (levels - 1)) * (255 / (levels - 1)))


def pixelated(p: Portrait, block: float) -> np.ndarray:
    """Squares of `block` canvas pixels."""
    height, width = p.pixels.shape[:2]
    side = block * p.canvas_px
    small = (max(round(width / side), 1), max(round(height / side), 1))
    return cv2.resize(
        cv2.resize(p.pixels, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=cv2.INTER_NEAREST
    )


def upscaled(p: Portrait, factor: float) -> np.ndarray:
    """A smaller photo enlarged by `factor`."""
    height, width = p.pixels.shape[:2]
    small = cv2.resize(p.pixels, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def few_pixels(p: Portrait, eye_distance: float) -> np.ndarray:
    """The whole photo with this eye distance in pixels."""
    factor = eye_distance / p.eye_distance
    size = (round(p.pixels.shape[1] * factor), round(p.pixels.shape[0] * factor))
    return cv2.resize(p.pixels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def jpeg_bytes(pixels: np.ndarray, quality: int) -> bytes:
    """A JPEG as phones and web forms write it: colour at half resolution."""
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def jpeg_damage(p: Portrait, quality: float) -> np.ndarray:
    """What is left after a JPEG of this quality."""
    return cv2.imdecode(np.frombuffer(jpeg_bytes(p.pixels, int(quality)), np.uint8), cv2.IMREAD_COLOR)


def compressed(p: Portrait, ratio: float) -> bytes:
    """The largest JPEG file whose size is at most 1 / `ratio` of the raw pixels."""
    for quality in range(100, 0, -1):
        data = jpeg_bytes(p.pixels, quality)
        if p.pixels.size >= ratio * len(data):
            return data
    return jpeg_bytes(p.pixels, 1)


def grey_file(p: Portrait, _: float) -> bytes:
    """A JPEG file with one channel."""
    return jpeg_bytes(cv2.cvtColor(p.pixels, cv2.COLOR_BGR2GRAY), 95)
