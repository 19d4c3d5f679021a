"""PURE: sharpness from one slanted edge: the edge-based spatial frequency response (e-SFR) of ISO 12233:2017, clause 6 and annex D.

Order: linear light -> where each row crosses the edge (centroid of its windowed derivative) -> a straight line through these places, and again with
the window on that line -> every pixel at its distance from the line, in bins of a quarter of a pixel -> derivative -> Hamming window -> modulus of
the discrete Fourier transform, corrected for the derivative's own response and for the slant. MTF50 is the first frequency where it is 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["EdgeReading", "read_edge"]

OVERSAMPLING = 4
# Below the first the edge crosses less than a pixel of an edge 70 rows high, so that bins stay empty; above the second the rows are too few for a line.
LEAST_SLANT_DEG, MOST_SLANT_DEG = 0.8, 20.0
LEAST_ROWS, LEAST_COLUMNS = 16, 12
# Of full scale in linear light, between both sides of the edge.
LEAST_CONTRAST = 0.04
# How far the pixels count, each side of the edge: a blur of 4 px (sigma) still ends inside.
REACH_PX = 16.0


@dataclass(frozen=True, slots=True)
class EdgeReading:
    """One edge."""

    mtf50_cycles_px: float
    steepness_per_px: float  # largest slope of the edge, of its contrast
    slant_deg: float
    contrast: float


def read_edge(light: NDArray[np.floating]) -> EdgeReading | None:
    """The edge that crosses this part of a picture from top to bottom (linear light 0..1, one channel); None when no edge can be read."""
    rows, columns = light.shape
    if rows < LEAST_ROWS or columns < LEAST_COLUMNS:
        return None
    values = light.astype(np.float64)
    dark, bright = sorted((float(values[:, :2].mean()), float(values[:, -2:].mean())))
    if bright - dark < LEAST_CONTRAST:
        return None
    if values[:, :2].mean() > values[:, -2:].mean():
        values = values[:, ::-1]
    line = _line(values)
    if line is None:
        return None
    slope, _ = line
    slant = math.degrees(math.atan(slope))
    if not LEAST_SLANT_DEG <= abs(slant) <= MOST_SLANT_DEG:
        return None
    profile = _profile(values, line)
    if profile is None:
        return None
    spread = np.gradient(profile) * OVERSAMPLING
    peak = int(np.argmax(_smooth(spread)))
    cosine = math.cos(math.radians(slant))
    mtf50 = _mtf50(spread, peak)
    if mtf50 is None:
        return None
    # Distances were counted along the rows; across the edge they are shorter.
    return EdgeReading(
        mtf50_cycles_px=mtf50 / cosine,
        steepness_per_px=float(_smooth(spread)[peak] / (bright - dark) / cosine),
        slant_deg=slant,
        contrast=bright - dark,
    )


def _line(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Slope and place of the edge: column = slope * row + place, from two turns of windowed centroids."""
    rows, columns = values.shape
    derivative = np.diff(values, axis=1)
    at = np.arange(columns - 1) + 0.5
    row_numbers = np.arange(rows)
    centres = np.full(rows, (columns - 1) / 2)
    width = (columns - 1) / 2
    slope = place = 0.0
    for turn in range(3):
        # Hamming around the line as known so far, at last narrow, so that noise far from the edge does not pull.
        reach = width if turn == 0 else min(width, REACH_PX / 2)
        distance = (at[None, :] - centres[:, None]) / reach
        window = np.where(np.abs(distance) <= 1, 0.54 + 0.46 * np.cos(np.pi * distance), 0.0)
        weights = derivative * window
        sums = weights.sum(axis=1)
        usable = sums > 0.1 * np.median(sums)
        if usable.sum() < LEAST_ROWS:
            return None
        crossing = (weights[usable] @ at) / sums[usable]
        slope, place = np.polyfit(row_numbers[usable], crossing, 1)
        centres = slope * row_numbers + place
    if centres.min() < 2 or centres.max() > columns - 3:
        return None
    return float(slope), float(place)


def _profile(values: NDArray[np.float64], line: tuple[float, float]) -> NDArray[np.float64] | None:
    """The edge across, in steps of a quarter of a pixel; over a whole number of the edge's pixel phases, so that all bins weigh alike."""
    slope, place = line
    rows, columns = values.shape
    period = 1 / abs(slope)
    used = int(int(rows / period) * period) if rows >= period else rows
    used = max(used, min(rows, LEAST_ROWS))
    reach = min(REACH_PX, place + min(0.0, slope * used), columns - 1 - max(place, place + slope * used))
    count = 2 * int(reach * OVERSAMPLING)
    if count < 8 * OVERSAMPLING:
        return None
    distance = np.arange(columns)[None, :] - (slope * np.arange(used)[:, None] + place)
    bins = np.floor(distance * OVERSAMPLING).astype(np.int64) + count // 2
    inside = (bins >= 0) & (bins < count)
    filled = np.bincount(bins[inside], minlength=count)
    sums = np.bincount(bins[inside], weights=values[:used][inside], minlength=count)
    if (filled == 0).mean() > 0.25:
        return None
    known = np.flatnonzero(filled)
    return np.asarray(np.interp(np.arange(count), known, sums[known] / filled[known]), dtype=np.float64)


def _smooth(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over one pixel, so that the largest slope is not the largest noise."""
    return np.convolve(spread, np.ones(OVERSAMPLING) / OVERSAMPLING, mode="same")


def _mtf50(spread: NDArray[np.float64], peak: int) -> float | None:
    """Cycles per pixel along the rows; None when the response never falls to a half."""
    half = min(peak, spread.size - 1 - peak)
    if half < 2 * OVERSAMPLING:
        return None
    part = spread[peak - half : peak + half + 1] * np.hamming(2 * half + 1)
    response = np.abs(np.fft.rfft(part, 16 * part.size))
    if response[0] <= 0:
        return None
    frequency = np.arange(response.size) * OVERSAMPLING / (16 * part.size)  # cycles per pixel
    # The difference over two bins and the mean over one have responses of their own (ISO 12233 annex D, correction of the derivative).
    correction = np.sinc(2 * frequency / OVERSAMPLING) * np.sinc(frequency / OVERSAMPLING)
    keep = (frequency < 1.0) & (correction > 0.1)
    mtf = response[keep] / response[0] / correction[keep]
    below = np.flatnonzero(mtf < 0.5)
    if below.size == 0 or below[0] == 0:
        return None
    after = int(below[0])
    share = (mtf[after - 1] - 0.5) / (mtf[after - 1] - mtf[after])
    return float(frequency[keep][after - 1] + share * (frequency[1] - frequency[0]))
