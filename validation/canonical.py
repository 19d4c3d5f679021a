"""A rigid face of our own: 28 points that expression hardly moves, in millimetres, for head pose.

Axes: origin between the eyes, x to the subject's left, y down, z away from the camera; eye distance 63 mm (adult mean, ISO/TR 7250-2).
Made by tests/bench/pose_calibration.py from the project's own rendered applicants: no point is copied from any other face model.
"""

from __future__ import annotations

from typing import Final

EYE_DISTANCE_MM: Final = 63.0

STABLE_POINTS: Final[dict[int, tuple[float, float, float]]] = {
    1: (0.00, 41.60, -31.22),
    2: (0.00, 47.16, -18.06),
    4: (0.00, 34.95, -33.19),
    5: (0.00, 25.93, -31.58),
    6: (0.00, 4.04, -19.44),
    8: (0.00, -10.39, -17.03),
    9: (0.00, -18.65, -18.59),
    33: (-45.51, -1.44, 2.09),
    50: (-48.54, 33.13, -1.61),
    98: (-17.34, 44.87, -11.59),
    101: (-34.29, 25.68, -5.92),
    115: (-15.57, 36.55, -23.44),
    117: (-53.97, 16.13, 2.76),
    127: (-70.11, 2.83, 43.13),
    133: (-17.49, 1.44, -2.09),
    168: (0.00, -3.55, -16.24),
    195: (0.00, 18.38, -27.30),
    197: (0.00, 11.37, -23.21),
    234: (-69.86, 17.20, 47.59),
    263: (45.51, -1.44, 2.09),
    280: (48.54, 33.13, -1.61),
    327: (17.34, 44.87, -11.59),
    330: (34.29, 25.68, -5.92),
    344: (15.57, 36.55, -23.44),
    346: (53.97, 16.13, 2.76),
    356: (70.11, 2.83, 43.13),
    362: (17.49, 1.44, -2.09),
    454: (69.86, 17.20, 47.59),
}
