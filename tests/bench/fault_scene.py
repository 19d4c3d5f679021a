"""Faults of framing and of the wall: (portrait, strength) -> picture. The uncropped picture is cut differently, or what is behind the
person's mask is changed.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from tests.bench.fault_camera import to_linear, to_pixels, to_srgb
from tests.bench.portraits import SIZE, Portrait
from validation.canvas import area_warp
from validation.geometry import eyes
from validation.head import head_length_px

HEAD_HEIGHT, EYE_LINE = 0.775, 0.435  # of the good portrait


def framed(
    p: Portrait,
    *,
    head_height: float = HEAD_HEIGHT,
    eye_line: float = EYE_LINE,
    aside: float = 0.0,
    turn_deg: float = 0.0,
    size: tuple[int, int] = SIZE,
) -> np.ndarray:
    """The source cut differently; beyond its edges they are continued."""
    right, left = eyes(p.source_landmarks)
    middle = (right + left) / 2
    scale = size[1] * head_height / head_length_px(p.source_landmarks)
    turn = math.radians(turn_deg) - math.atan2(left[1] - right[1], left[0] - right[0])
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    pad = max(p.source.shape[:2])
    wide = cv2.copyMakeBorder(p.source, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    target = np.array([size[0] * (0.5 + aside), size[1] * eye_line])
    return area_warp(wide, np.hstack([linear, (target - linear @ (middle + pad))[:, None]]), size)


def small_head(p: Portrait, height_pct: float) -> np.ndarray:
    return framed(p, head_height=height_pct / 100)


def large_head(p: Portrait, height_pct: float) -> np.ndarray:
    # The eye line of a head that just fits moves down with it.
    return framed(p, head_height=height_pct / 100, eye_line=0.5 + (EYE_LINE - 0.5) * 0.5)


def off_centre(p: Portrait, aside_pct: float) -> np.ndarray:
    return framed(p, aside=aside_pct / 100)


def too_high(p: Portrait, eye_line_pct: float) -> np.ndarray:
    return framed(p, eye_line=eye_line_pct / 100)


def too_low(p: Portrait, eye_line_pct: float) -> np.ndarray:
    return framed(p, eye_line=eye_line_pct / 100)


def tilted(p: Portrait, degrees: float) -> np.ndarray:
    """Clockwise in the picture: towards the own left shoulder."""
    return framed(p, turn_deg=degrees)


def wrong_aspect(p: Portrait, wider_pct: float) -> np.ndarray:
    return framed(p, size=(round(SIZE[0] * (1 + wider_pct / 100)), SIZE[1]))


def lying(p: Portrait, degrees: float) -> np.ndarray:
    """The file turned by quarter turns."""
    return np.ascontiguousarray(np.rot90(p.pixels, round(degrees / 90)))


def _behind(p: Portrait, wall: np.ndarray) -> np.ndarray:
    return to_pixels(p.pixels * p.person + wall * (1 - p.person))


def _wall_light(p: Portrait, factor: np.ndarray | float) -> np.ndarray:
    return _behind(p, to_srgb(to_linear(p.pixels) * factor))


def patterned_wall(p: Portrait, contrast: float) -> np.ndarray:
    """Squares a quarter of the eye distance wide, `contrast` grey levels apart."""
    x, y = p.grid
    step = 0.25 * p.eye_distance
    squares = (np.floor(x / step) + np.floor(y / step)) % 2 - 0.5
    return _behind(p, p.pixels + contrast * squares[..., None])


def wall_object(p: Portrait, share: float) -> np.ndarray:
    """A dark picture with a bright middle hanging beside the head; `share` of the picture's height."""
    height, width = p.pixels.shape[:2]
    side = share * height
    wall = p.pixels.astype(np.float32)
    x, y = np.abs(p.grid[0] - 0.1 * width), np.abs(p.grid[1] - 0.2 * height)
    wall[np.maximum(x, y) < side / 2] = (40, 60, 90)
    wall[np.maximum(x, y) < side / 3] = (150, 170, 120)
    return _behind(p, wall)


def wall_gradient(p: Portrait, lost: float) -> np.ndarray:
    """The wall's light falls by `lost` from one side to the other."""
    return _wall_light(p, 1 - lost * (p.grid[0] / p.pixels.shape[1])[..., None])


def wall_shadow(p: Portrait, lost: float) -> np.ndarray:
    """The person's own shadow, beside and below."""
    move = np.float32([[1, 0, 0.28 * p.eye_distance], [0, 1, 0.1 * p.eye_distance]])
    shape = cv2.warpAffine(p.mask, move, p.mask.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    shape = cv2.GaussianBlur(shape, (0, 0), 0.05 * p.eye_distance).astype(np.float32) / 255
    return _wall_light(p, 1 - lost * shape[..., None])


def wall_colour(p: Portrait, share: float) -> np.ndarray:
    """The wall painted: a share of strong blue."""
    return _behind(p, p.pixels * (1 - share) + share * np.array([170.0, 100.0, 30.0]))


def wall_dark(p: Portrait, light: float) -> np.ndarray:
    """The wall at this share of its light."""
    return _wall_light(p, light)


def second_person(p: Portrait, size: float) -> np.ndarray:
    """Somebody behind: the mirrored person at this share of the size, beside the head."""
    height, width = p.pixels.shape[:2]
    spot = np.array([0.1 * width, 0.24 * height])
    middle = np.array([width - p.middle[0], p.middle[1]])
    move = np.hstack([size * np.eye(2), (spot - size * middle)[:, None]])
    other = area_warp(np.ascontiguousarray(p.pixels[:, ::-1]), move, (width, height)).astype(np.float32)
    shape = area_warp(np.ascontiguousarray(np.repeat(p.mask[:, ::-1, None], 3, axis=2)), move, (width, height))
    weight = shape.astype(np.float32) / 255
    return _behind(p, p.pixels * (1 - weight) + other * weight)
