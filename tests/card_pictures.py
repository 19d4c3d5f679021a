"""The test card as a camera sees it, drawn by tests from the sheet's own numbers: a pinhole, a Gaussian lens, linear light."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

PX_PER_MM = 8
SHEET = (210, 297)


def linear(code):
    x = np.asarray(code, dtype=np.float64) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def encoded(light):
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@functools.cache
def printed(markers=(0, 1, 2, 3)):
    """The sheet's linear light."""
    k = PX_PER_MM
    sheet = np.full((SHEET[1] * k, SHEET[0] * k), 255, np.uint8)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    for number, (left, top) in enumerate([(10, 10), (170, 10), (10, 257), (170, 257)]):
        if number in markers:
            sheet[top * k : (top + 30) * k, left * k : (left + 30) * k] = cv2.aruco.generateImageMarker(
                dictionary, number, 30 * k
            )
    for left, code in zip((45, 65, 85, 105, 125, 145), (243, 200, 160, 122, 85, 52), strict=True):
        sheet[15 * k : 35 * k, left * k : (left + 20) * k] = code
    sheet[70 * k : 190 * k, 20 * k : 190 * k] = 118
    angle = math.radians(5)
    square = np.array([(-20, -20), (20, -20), (20, 20), (-20, 20)]) @ np.array(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    )
    cv2.fillPoly(
        sheet, [np.rint(((square + np.array([105, 228])) * k - 0.5) * 1024).astype(np.int32)], 20, cv2.LINE_8, 10
    )
    return linear(sheet).astype(np.float32)


def card_picture(
    *,
    size=(960, 1280),
    elevation_deg=0.0,
    yaw_deg=0.0,
    roll_deg=0.0,
    distance_mm=988.0,
    above_mm=0.0,
    aside_mm=0.0,
    fov_deg=24.0,
    sigma_px=0.7,
    light_bgr=(1.0, 1.0, 1.0),
    noise=0.0,
    seed=0,
    markers=(0, 1, 2, 3),
    turned=False,
):
    """A BGR picture; the camera stands `above_mm` over the sheet's middle, looks up, right, and is turned clockwise as told."""
    width, height = size
    e, y, r = (math.radians(angle) for angle in (elevation_deg, yaw_deg, roll_deg))
    forward = np.array([math.cos(e) * math.sin(y), -math.sin(e), math.cos(e) * math.cos(y)])
    level = np.array([math.cos(y), 0, -math.sin(y)])
    down = np.cross(forward, level)
    right = math.cos(r) * level + math.sin(r) * down
    down = math.cos(r) * down - math.sin(r) * level
    turn = np.stack([right, down, forward])
    place = np.array([105 + aside_mm, 148.5 - above_mm, -distance_mm])
    focal = height / 2 / math.tan(math.radians(fov_deg) / 2)
    lens = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    to_px = lens @ np.stack([turn[:, 0], turn[:, 1], -turn @ place], axis=1)
    k = PX_PER_MM
    fine = round(k / (focal / distance_mm))
    whole = (
        np.array([[fine, 0, -0.5], [0, fine, -0.5], [0, 0, 1]])
        @ to_px
        @ np.array([[1 / k, 0, 0.5 / k], [0, 1 / k, 0.5 / k], [0, 0, 1]])
    )
    sheet = printed(markers)
    sheet = sheet[::-1, ::-1] if turned else sheet
    seen = cv2.warpPerspective(sheet, whole, (width * fine, height * fine), flags=cv2.INTER_AREA, borderValue=0.4)
    seen = cv2.GaussianBlur(cv2.resize(seen, size, interpolation=cv2.INTER_AREA), (0, 0), sigma_px)
    picture = encoded(seen[..., None] * np.asarray(light_bgr))
    if noise:
        picture = picture + np.random.default_rng(seed).normal(0, noise, picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
