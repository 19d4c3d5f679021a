"""Makes the rigid face of validation/canonical.py and the skull of validation/head.py, and measures what they give on labelled renders.

Run: .venv/bin/python tests/bench/pose_calibration.py [FOLDER with labels.json and session.json; the project's own without]

The face is the mean of the face mesh over the neutral rendered applicants: each brought to eye distance 63 mm at the origin and upright,
averaged, made symmetric. The mesh's depth is then scaled by DEPTH, the one number fitted to the labelled head turns. The skull's two numbers
are fitted to the labelled crowns, every person counting alike. Errors are leave-one-person-out: a person's images are measured with the face
and the skull made from the other people. Images with another number of faces than one, or where the model finds none, are left out and named.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from validation.canonical import EYE_DISTANCE_MM
from validation.face import FaceModel
from validation.geometry import Pose, eyes, head_pose, pupils
from validation.head import SKULL, Skull, head

APPLICANTS = Path(__file__).resolve().parents[2] / "hardware" / "sim" / "applicants"
PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
DEPTH = 0.8
MIDDLE = (9, 8, 168, 6, 197, 195, 5, 4, 1, 2)
PAIRS = ((33, 263), (133, 362), (98, 327), (115, 344), (117, 346), (101, 330), (50, 280), (127, 356), (234, 454))
# The band in which the angles are promised (docs/rules.md).
MOST_YAW_DEG, MOST_PITCH_DEG = 25, 10
# Errors of the fit beyond this share of the head count by their size and not their square: covered faces must not steer it.
ROBUST = 0.03


@dataclass(frozen=True)
class Labelled:
    """One picture of one person: what is true of it and what the mesh saw."""

    label: dict
    mesh: np.ndarray

    @property
    def person(self) -> str:
        return self.label["person"]

    @property
    def promised(self) -> bool:
        return abs(self.label["yaw"]) <= MOST_YAW_DEG and abs(self.label["pitch"]) <= MOST_PITCH_DEG


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


def labelled_meshes(folder: Path) -> tuple[list[Labelled], list[str]]:
    """Every labelled picture with one person and its mesh, and the names of the others."""
    labels = json.loads((folder / "labels.json").read_text())["images"]
    labels += json.loads((folder / "session.json").read_text())["frames"]
    found, left_out = [], []
    with FaceModel() as model:
        for label in labels:
            faces = model.scene(cv2.imread(str(folder / label["file"])), mask=False).faces
            if label["faces"] == 1 and len(faces) == 1:
                found.append(Labelled(label, faces[0].landmarks))
            else:
                left_out.append(label["file"])
    return found, left_out


def crown_errors(rows: list[tuple[Labelled, Pose]], skull: Skull) -> np.ndarray:
    """Distance of estimated and labelled crown / head height."""
    misses = [head(row.mesh, pose, skull=skull).crown - np.array(row.label["crown"]) for row, pose in rows]
    return np.hypot(*np.array(misses).T) / [row.label["head_height_px"] for row, _ in rows]


def fitted_skull(rows: list[tuple[Labelled, Pose]]) -> Skull:
    """The skull with the least robust error: a coarse grid, then a fine one around its best."""
    people = [row.person for row, _ in rows]
    weights = np.array([1 / people.count(person) for person in people])

    def cost(skull: Skull) -> float:
        size = crown_errors(rows, skull) / ROBUST
        return float((weights * np.where(size < 1, size**2, 2 * size - 1)).sum())

    best = SKULL
    for tall_step, shape_step in ((4.0, 0.4), (1.0, 0.1)):
        grid = [
            Skull(best.crown_mm + i * tall_step, round(best.shape_deg_per_mm + j * shape_step, 2))
            for i in range(-3, 4)
            for j in range(-3, 4)
        ]
        best = min(grid, key=cost)
    return best


def print_errors(name: str, values: np.ndarray, unit: str) -> None:
    """One line of the table."""
    size = np.abs(values)
    print(f"{name:<58} mean {size.mean():5.2f}  worst {size.max():5.2f} {unit:<3} n = {len(size)}")


def main() -> None:
    """Prints the tables and the errors."""
    rows, left_out = labelled_meshes(Path(sys.argv[1]) if len(sys.argv) > 1 else APPLICANTS)
    neutral = {row.person: row.mesh for row in rows if row.label["file"] == f"people/{row.person}/neutral.jpg"}
    everybody = rigid_face(list(neutral.values()))
    for index, point in sorted(everybody.items()):
        print(f"    {index}: ({point[0]:.2f}, {point[1]:.2f}, {point[2]:.2f}),")
    print(fitted_skull([(row, head_pose(row.mesh)) for row in rows]))

    angles, heads, eye_errors = [], [], []
    for person, level in neutral.items():
        face = rigid_face([mesh for other, mesh in neutral.items() if other != person])
        posed = [(row, head_pose(row.mesh, face=face)) for row in rows]
        own_neutral = head_pose(level, face=face).pitch_deg
        skull = fitted_skull([pair for pair in posed if pair[0].person != person])
        print(f"without {person}: {skull}")
        own = [pair for pair in posed if pair[0].person == person]
        crowns = crown_errors(own, skull) * 100
        for (row, pose), crown in zip(own, crowns, strict=True):
            label = row.label
            seen = head(row.mesh, pose, skull=skull)
            chin = np.hypot(*(seen.chin - label["chin"])) / label["head_height_px"] * 100
            length = (seen.length_px / label["head_height_px"] - 1) * 100
            heads.append((crown, chin, length, row.promised, label["file"]))
            turned = (pose.yaw_deg - label["yaw"], pose.pitch_deg - label["pitch"], pose.roll_deg - label["roll"])
            angles.append((*turned, pose.pitch_deg - own_neutral - label["pitch"], row))
            for found in (pupils(row.mesh), eyes(row.mesh)):
                truth = (label["pupil_right"], label["pupil_left"])
                misses = [np.hypot(*(f - t)) for f, t in zip(found, truth, strict=True)]
                eye_errors.append(np.mean(misses) / label["inter_eye_px"] * 100)

    inside = [a for a in angles if a[4].promised]
    print(
        f"\nleave-one-person-out, |yaw| <= {MOST_YAW_DEG}, |pitch| <= {MOST_PITCH_DEG} degrees; left out: {', '.join(left_out)}"
    )
    print_errors("yaw", np.array([a[0] for a in inside]), "°")
    print_errors(
        "yaw, heads turned by more than 2", np.array([a[0] for a in inside if abs(a[4].label["yaw"]) > 2]), "°"
    )
    print_errors("roll", np.array([a[2] for a in inside]), "°")
    print_errors("pitch, change from the person's own neutral", np.array([a[3] for a in inside]), "°")
    pitched = [a for a in inside if abs(a[4].label["pitch"]) >= 5]
    print_errors("the same, heads pitched by 5 to 10", np.array([a[3] for a in pitched]), "°")
    far = [a for a in angles if abs(a[4].label["pitch"]) > MOST_PITCH_DEG]
    print_errors("the same, heads pitched by 20 (outside the band)", np.array([a[3] for a in far]), "°")
    print_errors("pitch, absolute", np.array([a[1] for a in inside]), "°")
    print_errors("pupils, mean of both / inter-eye distance", np.array(eye_errors[::2]), "%")
    print_errors("midpoints of the eye corners against the pupils", np.array(eye_errors[1::2]), "%")
    for name, column in (("crown / head height", 0), ("chin / head height", 1), ("head length / head height", 2)):
        print_errors(name, np.array([h[column] for h in heads if h[3]]), "%")
        print_errors(f"{name}, all pictures", np.array([h[column] for h in heads]), "%")
    worst = sorted(heads, key=lambda h: -h[0])[:6]
    print("largest crown errors: " + ", ".join(f"{h[4]} {h[0]:.1f}" for h in worst))


if __name__ == "__main__":
    sys.exit(main())
