"""Writes the labels of the rendered applicants for `booth evaluate`.  Run: .venv/bin/python tests/bench/render_labels.py labels.csv

    booth evaluate hardware/sim/applicants --labels labels.csv

What each picture shows is known from how it was rendered (labels.json, session.json): geometry and pose are numbers, held here against the
limits of profile icao; the rest are named faults. A fault that another rule may or may not notice leaves that rule's cell empty (unknown),
as do values near a limit. Properties that a rule reads from the same header or bytes as the label would (size, aspect, compression)
have no label: they would only show that a program agrees with itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path

APPLICANTS = Path(__file__).resolve().parents[2] / "hardware" / "sim" / "applicants"

GEOMETRY = (
    "geometry.inter_eye",
    "geometry.head_height",
    "geometry.vertical",
    "geometry.horizontal",
    "geometry.head_inside",
)
POSE = ("pose.roll", "pose.yaw", "pose.pitch")
EYES = tuple(
    f"eyes.{n}" for n in ("dark_lenses", "open", "glasses", "reflection", "frames", "hair", "gaze", "red", "visible")
)
COVER = ("face.lower_visible", "face.forehead_visible", "face.sides_visible")
MOUTH = ("mouth.closed", "mouth.lip_gap", "mouth.teeth", "expression.smile")
BALANCE = ("light.even", "light.sides", "light.shadows")
AMOUNT = ("light.exposure", "light.overexposed", "light.underexposed", "light.grey_levels", "light.entropy")
LIGHT = (*BALANCE, *AMOUNT, "light.hot_spots", "light.natural_colour")
WALL = tuple(
    f"background.{n}" for n in ("uniform", "colour", "lightness", "one_colour", "shadow", "objects", "contrast")
)
PICTURE = ("image.sharp", "image.motion", "image.pixelated", "image.blocks", "image.noise")
RULES = ("image.upright", "face.single", *GEOMETRY, *POSE, *EYES, *COVER, *MOUTH, *LIGHT, *WALL, *PICTURE)

# What the name of a variation says: rules that it breaks, and rules of which it says nothing.
FAULTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "side_light": (BALANCE, (*AMOUNT, "light.hot_spots", "light.natural_colour", *WALL, "face.lower_visible")),
    "dark": (("light.exposure", "light.underexposed"), (*LIGHT, *WALL, *COVER, "eyes.visible", "eyes.dark_lenses")),
    "overexposed": (("light.exposure",), (*LIGHT, *WALL, *COVER, "image.sharp")),
    "ambient_only": ((), (*LIGHT, *WALL)),
    "background_light_off": ((), ("background.lightness", "background.shadow", "background.one_colour", *AMOUNT)),
    "backlit": (("light.exposure",), (*LIGHT, *WALL, *COVER, "eyes.dark_lenses", "eyes.visible")),
    "top_light_only": (("light.shadows",), (*LIGHT, *WALL)),
    "colour_cast": (("light.natural_colour", "background.colour"), (*AMOUNT, "light.even", "background.lightness")),
    "red_eye": (("eyes.red",), ()),
    "defocus_6": (
        ("image.sharp",),
        ("eyes.red", "background.uniform", "image.pixelated", "image.blocks", "image.noise"),
    ),
    "defocus_2.5": (("image.sharp",), ("image.pixelated", "image.noise")),
    "motion_blur_25": (
        ("image.motion",),
        ("image.sharp", "image.pixelated", "image.noise", "eyes.frames", "eyes.glasses"),
    ),
    "motion_blur_11": (("image.motion",), ("image.sharp", "image.pixelated", "image.noise")),
    "noisy": (
        ("image.noise",),
        ("background.uniform", "background.one_colour", "image.sharp", "image.motion", "image.blocks"),
    ),
    "gaze_left": (("eyes.gaze",), ()),
    "headscarf": ((), COVER),
    "too_close": ((), ("image.pixelated", "light.even")),
    "bg_pattern": (
        ("background.uniform", "background.one_colour"),
        ("background.objects", "background.colour", "background.lightness", "background.shadow", "background.contrast"),
    ),
    "eyes_closed": (("eyes.open",), ("eyes.dark_lenses", "eyes.gaze", "eyes.red", "eyes.visible", "eyes.frames")),
    "one_eye_closed": (("eyes.open",), ("eyes.dark_lenses", "eyes.gaze", "eyes.red", "eyes.visible", "eyes.frames")),
    "bg_dark": (("background.lightness",), ("background.colour", "background.shadow", "background.contrast")),
    "mask": (("face.lower_visible",), (*MOUTH, *COVER, *LIGHT)),
    "mouth_covered": (("face.lower_visible",), (*MOUTH, *COVER, *LIGHT)),
    "second_person": (("face.single", "background.objects"), (*WALL, *GEOMETRY, "face.sides_visible")),
    "bg_shadow": (("background.shadow",), (*LIGHT, *WALL)),
    "glasses": (("eyes.glasses",), ("eyes.frames", "eyes.visible", "eyes.hair")),
    "glasses_glare": (
        ("eyes.glasses", "eyes.reflection", "eyes.visible"),
        ("eyes.frames", "eyes.open", "eyes.gaze", "eyes.red", "eyes.dark_lenses", "eyes.hair"),
    ),
    "glasses_thick": (("eyes.glasses", "eyes.frames"), ("eyes.visible", "eyes.hair")),
    "sunglasses": (("eyes.glasses", "eyes.dark_lenses", "eyes.visible"), EYES),
    "cap": (("face.forehead_visible",), (*COVER, *LIGHT, "geometry.head_inside")),
    "hair_over_eye": (("eyes.hair", "eyes.visible"), (*EYES, *COVER, *BALANCE, *POSE)),
    "smile_teeth": (("mouth.closed", "mouth.teeth", "expression.smile"), ("mouth.lip_gap", "eyes.open")),
    "mouth_open": (("mouth.closed", "mouth.lip_gap", "mouth.teeth"), ("expression.smile", "geometry.head_height")),
}


def graded(value: float, good: float, bad: float) -> str:
    """0 up to `good`, 1 from `bad` on, unknown between."""
    return "0" if value <= good else "1" if value >= bad else ""


def banded(value: float, low: float, high: float, margin: float) -> str:
    """Held against a band, unknown within `margin` of its ends."""
    return graded(max(low - value, value - high), -margin, margin)


def _geometry(label: dict) -> dict[str, str]:
    width, height = label["width"], label["height"]
    (lx, ly), (rx, ry) = label["pupil_left"], label["pupil_right"]
    (cx, cy), (tx, ty) = label["chin"], label["crown"]
    margin = min(cy, ty, height - max(cy, ty), cx, tx, lx, rx, width - max(cx, tx, lx, rx)) / height * 100
    return {
        "geometry.inter_eye": banded(math.hypot(lx - rx, ly - ry), 90, 1e6, 2),
        "geometry.head_height": banded(math.hypot(cx - tx, cy - ty) / height * 100, 60, 90, 1),
        "geometry.vertical": banded((ly + ry) / 2 / height * 100, 30, 50, 1),
        "geometry.horizontal": banded((lx + rx) / 2 / width * 100, 45, 55, 1),
        "geometry.head_inside": "1" if margin < 0 else "0" if margin > 5 else "",
    }


def _pose(label: dict) -> dict[str, str]:
    return {
        "pose.roll": graded(abs(label["roll"]), 4.5, 8),
        "pose.yaw": graded(abs(label["yaw"]), 4, 5.5),
        "pose.pitch": graded(abs(label["pitch"]), 4, 8),
    }


def _moving_face(label: dict) -> dict[str, str]:
    """Rules that a session frame's own numbers break or leave open."""
    found: dict[str, str] = {}
    openness = min(label["eye_open_left"], label["eye_open_right"])
    if openness < 1:
        found |= dict.fromkeys(FAULTS["eyes_closed"][1], "") | {"eyes.open": "1" if openness < 0.2 else ""}
    if label["lips_parted"]:
        found |= {"mouth.closed": "1", "mouth.lip_gap": "", "expression.smile": "1" if label["smile"] >= 0.5 else ""}
        found["mouth.teeth"] = "1" if label["teeth_visible"] else ""
    elif label["smile"]:
        found["expression.smile"] = ""
    gaze = math.hypot(label["gaze_yaw"], label["gaze_pitch"])
    found["eyes.gaze"] = found.get("eyes.gaze", graded(gaze, 2, 15))
    if abs(label["yaw"]) > 5 or abs(label["pitch"]) > 8:
        unsure = (
            "eyes.gaze",
            "eyes.visible",
            "light.sides",
            "light.shadows",
            "light.even",
            *COVER,
            "background.shadow",
        )
        found |= dict.fromkeys(unsure, "")
    return found


def labels_of(label: dict) -> dict[str, str]:
    """The cells of one picture."""
    found = dict.fromkeys(RULES, "0") | _geometry(label) | _pose(label)
    name = Path(label["file"]).stem.removeprefix(label["person"]).lstrip("_")
    broken, unsure = FAULTS.get(name, ((), ()))
    if label["file"].startswith("variations/") and not broken and not unsure:
        moved = any(label[k] for k in ("yaw", "pitch", "roll")) or label["head_offset_m"] != [0, 0, 0]
        if not moved:
            raise ValueError(f"{label['file']}: no row of FAULTS says what '{name}' is")
    found |= _moving_face(label) | dict.fromkeys(unsure, "") | dict.fromkeys(broken, "1")
    if found["geometry.head_inside"] == "1":  # half a face tells nothing else
        found = dict.fromkeys(RULES, "") | {"geometry.head_inside": "1"}
    return found


def main(target: Path) -> None:
    """Writes the file."""
    images = json.loads((APPLICANTS / "labels.json").read_text("utf-8"))["images"]
    images += json.loads((APPLICANTS / "session.json").read_text("utf-8"))["frames"]
    with target.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["file", "subject", "group", *RULES])
        for label in images:
            cells = labels_of(label)
            folder = label["file"].split("/")[0]
            writer.writerow([label["file"], label["person"], folder, *(cells[rule] for rule in RULES)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes the labels of the rendered applicants for `booth evaluate`.")
    parser.add_argument("labels", type=Path, help="the file to write")
    main(parser.parse_args().labels)
