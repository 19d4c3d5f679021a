"""PURE: the wall behind the person: the part of the picture where the person mask sees nobody."""

from __future__ import annotations

import math

import cv2
import numpy as np

from validation.canvas import CANVAS_SIDE, Canvas, Image, area_warp, luminance

# Background part of the canvas and the size it is measured at (ISO/IEC 29794-5 background uniformity).
BACKGROUND_ROWS, BACKGROUND_COLUMNS = slice(0, 406), slice(62, 554)
BACKGROUND_SIZE = (354, 292)
MASK_BELOW = 26  # person mask < 0.1
MASK_MARGIN_PX = 4
# Longest side at which the whole picture is looked at, whatever the face's size in it.
SURROUNDINGS_SIDE = 1400
# Colour spread is a matter of areas, not of detail.
COLOUR_SIDE = 240
COLOUR_MARGIN_PX = 5  # hair tips beside the outline
ONE_COLOUR_DIFFERENCE = 20.0
# Fewer background pixels than this share say nothing about the wall.
BACKGROUND_LEAST = 0.02


def _roughness(light: Image, free: Image) -> float | None:
    margin = np.ones((2 * MASK_MARGIN_PX + 1, 2 * MASK_MARGIN_PX + 1), np.uint8)
    free = np.asarray(cv2.erode(free, margin, borderValue=1), dtype=np.uint8)
    if free.mean() < BACKGROUND_LEAST:
        return None
    slope = cv2.magnitude(cv2.Scharr(light, cv2.CV_32F, 1, 0), cv2.Scharr(light, cv2.CV_32F, 0, 1))
    return float(slope[free > 0].mean())


def background_roughness(face: Canvas, person_mask: Image) -> float | None:
    """Mean Scharr gradient of the luminance behind the head; None when too little of the wall is seen."""
    outline = area_warp(person_mask, face.matrix, (CANVAS_SIDE, CANVAS_SIDE))
    window = (BACKGROUND_ROWS, BACKGROUND_COLUMNS)
    free = ((outline < MASK_BELOW) & (face.inside > 0)).astype(np.uint8)[window]
    free = np.asarray(cv2.resize(free, BACKGROUND_SIZE, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    light = cv2.resize(face.luminance[window], BACKGROUND_SIZE, interpolation=cv2.INTER_LINEAR)
    return _roughness(np.asarray(light, dtype=np.uint8), free)


def surroundings_roughness(image: Image, face: Canvas, person_mask: Image) -> float | None:
    """The same over the whole picture, at the same scale: a flag or a shelf beside the standard canvas counts too."""
    height, width = image.shape[:2]
    scale = math.sqrt(abs(float(np.linalg.det(face.matrix[:, :2])))) * BACKGROUND_SIZE[0] / (554 - 62)
    scale = min(scale, SURROUNDINGS_SIDE / max(width, height))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    matrix = np.array([[size[0] / width, 0, 0], [0, size[0] / width, 0]], dtype=np.float64)
    outline = area_warp(person_mask, matrix, size)
    return _roughness(luminance(area_warp(image, matrix, size)), (outline < MASK_BELOW).astype(np.uint8))


def background_one_colour(image: Image, person_mask: Image) -> float | None:
    """Share of the background within a colour difference (CIE 1976) of 20 from its median colour; None when too little is seen."""
    height, width = image.shape[:2]
    scale = min(1.0, COLOUR_SIDE / max(width, height))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    matrix = np.array([[size[0] / width, 0, 0], [0, size[0] / width, 0]], dtype=np.float64)
    free = (area_warp(person_mask, matrix, size) < MASK_BELOW).astype(np.uint8)
    free = np.asarray(
        cv2.erode(free, np.ones((COLOUR_MARGIN_PX, COLOUR_MARGIN_PX), np.uint8), borderValue=1), dtype=np.uint8
    )
    if free.mean() < BACKGROUND_LEAST:
        return None
    small = area_warp(image, matrix, size).astype(np.float32) / 255
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2Lab)[free > 0]
    away = np.linalg.norm(lab - np.median(lab, axis=0), axis=1)
    return float((away <= ONE_COLOUR_DIFFERENCE).mean())
