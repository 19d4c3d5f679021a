"""PURE: the picture's detail on the face brought to the standard canvas (validation.canvas): blur, movement, noise.

A lens out of focus takes fine detail away before it touches coarse detail; a movement does so along one direction only. So the energy of
gradients in a fine band is compared with that in a coarse band for every direction at once (the two structure tensors' generalised
eigenvalues): contrast, light and skin tone cancel out, and so does the face's own anisotropy. Noise is white and adds the same energy to
every direction: its share is estimated on smooth patches and taken off.
Order: the face with its outline -> half size (eye distance 56 px: a millisecond becomes a quarter) -> bands -> tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.canvas import MESH_POINTS, Canvas

# Spreads of the Gaussians between which a band lies, in pixels of the half canvas: fine is 1.5-3 px at eye distance 113, coarse 3-6.
SPREADS_PX = (0.75, 1.5, 3.0)
# Room around the landmarks, canvas pixels: ears, hair line and jaw are edges that blur softens too.
MARGIN_PX = 30
# Pixels at the picture's edge that the widest Gaussian mixes with what is outside, half canvas.
EDGE_PX = 5
MIN_SIDE_PX = 48
# Energy of unit noise in a fine and a coarse gradient, as estimated below: white noise through the two bands gives 0.149 and 0.018; the
# quarter of the smoothest patches underestimates it by 1.35 (calibrated: blurred renders with known noise).
NOISE_ENERGY = (0.2, 0.03)
# Laplacian that a plane and an edge along the axes do not answer to (Immerkaer 1996).
NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
NOISE_PATCH_PX = 8
SMOOTH_SHARE = 0.25
# Below this energy (grey levels squared) there is no coarse detail to compare with.
LEAST_ENERGY = 1e-3


@dataclass(frozen=True, slots=True)
class Detail:
    """What is left of the face's detail. About 1 on a sharp portrait."""

    sharpest: float  # fine / coarse, in the direction that kept most
    softest: float  # the same in the direction that kept least
    noise: float  # spread of the noise on smooth patches, grey levels
    box: NDArray[np.float64]  # corners of what was looked at, in the source


def _tensor(band: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> tuple[float, float, float]:
    """Mean energy of the gradient across, mixed and down; everywhere, or inside."""
    across, down = band[1:-1, 2:] - band[1:-1, :-2], band[2:, 1:-1] - band[:-2, 1:-1]
    if inside is not None:
        across, down = across[inside], down[inside]
    a, b, count = across.ravel(), down.ravel(), across.size
    return float(a @ a) / count, float(a @ b) / count, float(b @ b) / count


def _kept(fine: tuple[float, float, float], coarse: tuple[float, float, float]) -> tuple[float, float] | None:
    """Square roots of the largest and smallest fine / coarse energy over all directions: eigenvalues of coarse^-1 fine."""
    a, b, c = coarse
    determinant = a * c - b * b
    # The smaller eigenvalue of the coarse tensor: without energy in some direction there is nothing to compare with.
    if (a + c) / 2 - math.hypot((a - c) / 2, b) < LEAST_ENERGY:
        return None
    half_trace = (c * fine[0] - 2 * b * fine[1] + a * fine[2]) / determinant / 2
    product = (fine[0] * fine[2] - fine[1] ** 2) / determinant
    apart = math.sqrt(max(half_trace**2 - product, 0.0))
    return math.sqrt(max(half_trace + apart, 0.0)), math.sqrt(max(half_trace - apart, 0.0))


def noise(grey: NDArray[np.float32]) -> float:
    """Spread of the noise in grey levels: the mask's answer on the smoothest quarter of small patches. 0 where there is no patch."""
    answer = np.abs(cv2.filter2D(grey, -1, NOISE_MASK)) * (np.sqrt(np.pi / 2) / 6)
    patches = grey.shape[1] // NOISE_PATCH_PX, grey.shape[0] // NOISE_PATCH_PX
    if min(patches) < 1:
        return 0.0
    part = answer[: patches[1] * NOISE_PATCH_PX, : patches[0] * NOISE_PATCH_PX]
    means = cv2.resize(part, patches, interpolation=cv2.INTER_AREA).ravel()
    rank = int(SMOOTH_SHARE * (means.size - 1))
    return float(np.partition(means, rank)[rank])


def detail(face: Canvas) -> Detail | None:
    """The detail of a face; None when too little of it is in the picture or when it has none."""
    points = face.points[:MESH_POINTS]
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - MARGIN_PX, 0, face.inside.shape[0])
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + MARGIN_PX, 0, face.inside.shape[0])
    wide, tall = (high - low) // 2
    if min(wide, tall) < MIN_SIDE_PX:
        return None
    window = slice(low[1], low[1] + 2 * tall), slice(low[0], low[0] + 2 * wide)
    size = (int(wide), int(tall))
    grey = cv2.resize(cv2.cvtColor(face.pixels[window], cv2.COLOR_BGR2GRAY), size, interpolation=cv2.INTER_AREA)
    values = np.asarray(grey, dtype=np.float32)
    seen: NDArray[np.bool_] | None = None
    inside = face.inside[window][::2, ::2]
    if not inside.all():
        near = np.ones((2 * EDGE_PX + 1, 2 * EDGE_PX + 1), np.uint8)
        seen = np.asarray(cv2.erode(inside, near, borderValue=255), dtype=np.uint8)[1:-1, 1:-1] > 0
        if seen.sum() < MIN_SIDE_PX**2:
            return None
    smoothed = [np.asarray(cv2.GaussianBlur(values, (0, 0), spread), dtype=np.float32) for spread in SPREADS_PX]
    spread = noise(values)
    energies = []
    for n, energy in enumerate(NOISE_ENERGY):
        across, mixed, down = _tensor(np.asarray(smoothed[n] - smoothed[n + 1], dtype=np.float32), seen)
        energies.append((across - energy * spread**2, mixed, down - energy * spread**2))
    kept = _kept(*energies)
    if kept is None:
        return None
    corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])], dtype=np.float64)
    return Detail(*kept, spread, face.back(corners))
