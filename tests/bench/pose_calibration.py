"""Makes the rigid face of validation/canonical.py and measures the head pose it gives.  Run: .venv/bin/python tests/bench/pose_calibration.py

The face is the mean of the face mesh over the neutral rendered applicants: each brought to eye distance 63 mm at the origin and upright,
averaged, made symmetric. The mesh's depth is then scaled by DEPTH, the one number fitted to the labelled head turns.
Errors are leave-one-person-out: a person's images are measured with the face made from the other people.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np

from validation.canonical import EYE_DISTANCE_MM
from validation.face import FaceModel
from validation.geometry import head_pose

APPLICANTS = Path(__file__).resolve().parents[2] / "hardware" / "sim" / "applicants"
PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
DEPTH = 0.8
MIDDLE = (9, 8, 168, 6, 197, 195, 5, 4, 1, 2)
PAIRS = ((33, 263), (133, 362), (98, 327), (115, 344), (117, 346), (101, 330), (50, 280), (127, 356), (234, 454))


def upright(landmarks: np.ndarray) -> np.ndarray:
    """The mesh with the eyes level, their midpoint at the origin, their distance 63 mm."""
    points = landmarks.astype(np.float64)
    right, left = (points[33] + points[133]) / 2, (points[362] + points[263]) / 2
    across = (left - right)[:2]
    cos, sin = across / np.linalg.norm(across)
    points = (points - (right + left) / 2) * (EYE_DISTANCE_MM / np.linalg.norm(across))
    points[:, :2] = points[:, :2] @ np.array([[cos, -sin], [sin, cos]])
    return points


def rigid_face(meshes: list[np.ndarray]) -> dict[int, np.ndarray]:
    """The symmetric mean of upright meshes at the stable points."""
    mean = np.mean([upright(m) for m in meshes], axis=0) * [1, 1, DEPTH]
    face = {i: np.array([0.0, mean[i][1], mean[i][2]]) for i in MIDDLE}
    for right, left in PAIRS:
        half = (mean[left] - mean[right])[0] / 2
        _, y, z = (mean[left] + mean[right]) / 2
        face[right], face[left] = np.array([-half, y, z]), np.array([half, y, z])
    return face


def labelled_meshes() -> list[tuple[dict, np.ndarray]]:
    """Every labelled picture with one person, and its mesh."""
    labels = json.loads((APPLICANTS / "labels.json").read_text())["images"]
    labels += json.loads((APPLICANTS / "session.json").read_text())["frames"]
    found = []
    with FaceModel() as model:
        for label in labels:
            face = model.scene(cv2.imread(str(APPLICANTS / label["file"])), mask=False).face
            if label["faces"] == 1 and face is not None:
                found.append((label, face.landmarks))
    return found


def main() -> None:
    """Prints the table and the errors."""
    meshes = labelled_meshes()
    neutral = {
        label["person"]: mesh for label, mesh in meshes if label["file"] == f"people/{label['person']}/neutral.jpg"
    }
    for index, point in sorted(rigid_face(list(neutral.values())).items()):
        print(f"    {index}: ({point[0]:.2f}, {point[1]:.2f}, {point[2]:.2f}),")
    rows = []
    for label, mesh in meshes:
        face = rigid_face([m for p, m in neutral.items() if p != label["person"]])
        pose, own = head_pose(mesh, face=face), head_pose(neutral[label["person"]], face=face)
        truth = (label["yaw"], label["pitch"], label["roll"])
        rows.append((*truth, pose.yaw_deg, pose.pitch_deg, pose.roll_deg, pose.pitch_deg - own.pitch_deg))
    table = np.array(rows)
    small = table[(np.abs(table[:, 0]) <= 25) & (np.abs(table[:, 1]) <= 10)]
    error = {
        "yaw": small[:, 3] - small[:, 0],
        "yaw, heads turned by more than 2 degrees": (small[:, 3] - small[:, 0])[np.abs(small[:, 0]) > 2],
        "roll": small[:, 5] - small[:, 2],
        "pitch, absolute": small[:, 4] - small[:, 1],
        "pitch, change from the person's own neutral": small[:, 6] - small[:, 1],
        "the same, pitched by 5 to 20 degrees": (table[:, 6] - table[:, 1])[np.abs(table[:, 1]) >= 5],
    }
    for name, values in error.items():
        print(f"{name}: mean absolute {np.abs(values).mean():.2f}, worst {np.abs(values).max():.2f}, n = {len(values)}")


if __name__ == "__main__":
    sys.exit(main())
