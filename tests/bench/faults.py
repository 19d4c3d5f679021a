"""The fault bench: good portraits with one graded fault each, of known strength.

    .venv/bin/python tests/bench/faults.py OUT            writes a dataset folder for `booth evaluate` (pictures and labels.csv)
    .venv/bin/python tests/bench/faults.py OUT --faults defocus,noise --people anna,kwame

Strengths and labels are frozen: they say what a passport officer would refuse on the print, and were set before any measure was looked at.
A label is 0 up to a strength that nobody would mind, 1 from the one that an officer refuses, and empty between. Only the fault's own
rules are labelled; the good portrait is 0 for every rule here. Deterministic: the same pictures each time.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from tests.bench import fault_camera as camera
from tests.bench import fault_covers as covers
from tests.bench import fault_scene as scene
from tests.bench.fault import Effect, Fault, encoded
from tests.bench.portraits import PEOPLE, Portrait, portraits
from validation.face import FaceModel

FAULTS: tuple[Fault, ...] = (
    # Camera. 1 canvas pixel is about 1/300 inch on the print.
    Fault(
        "defocus",
        camera.defocus,
        (0.3, 0.6, 1.0, 1.5, 2.5, 4.0, 6.0),
        "canvas px, spread",
        (Effect("image.sharp", 2, 4),),
    ),
    Fault(
        "motion",
        camera.motion,
        (1, 2, 4, 6, 9, 14, 20),
        "canvas px, length",
        (Effect("image.motion", 2, 3), Effect("image.sharp", moves="down")),
    ),
    Fault(
        "noise", camera.noise, (1, 2, 4, 7, 12, 20, 30), "grey levels", (Effect("image.noise", 2, 4),), lossless=True
    ),
    Fault(
        "pixelated", camera.pixelated, (1, 1.5, 2, 3, 4, 6, 9), "canvas px", (Effect("image.pixelated", 1, 3),), True
    ),
    Fault(
        "upscaled", camera.upscaled, (1.05, 1.15, 1.3, 1.6, 2, 3, 5), "times", (Effect("image.upscaled", 1, 4),), True
    ),
    Fault(
        "few_pixels",
        camera.few_pixels,
        (150, 130, 115, 100, 80, 60, 40),
        "px eye distance",
        (Effect("geometry.inter_eye", 3, 4),),
    ),
    Fault(
        "jpeg_damage",
        camera.jpeg_damage,
        (95, 85, 70, 50, 30, 18, 8),
        "quality",
        (Effect("image.blocks", 3, 5),),
        lossless=True,
    ),
    Fault(
        "compressed",
        camera.compressed,
        (5, 8, 12, 17, 25, 40, 80),
        "raw / file size",
        (Effect("image.compression", 3, 4),),
        lossless=True,  # the good portrait: a file that lost nothing
    ),
    Fault("grey_file", camera.grey_file, (1,), "", (Effect("image.colour_space", 0, 0),)),
    # Light and colour.
    Fault(
        "underexposed",
        camera.underexposed,
        (0.25, 0.5, 1, 1.5, 2.5, 4, 6),
        "stops",
        (Effect("light.exposure", 2, 4, "down"), Effect("light.underexposed", 2, 4)),
    ),
    Fault(
        "overexposed",
        camera.overexposed,
        (0.6, 0.75, 0.9, 1.05, 1.3, 1.8, 3),
        "times white, brightest tenth of the face",
        (Effect("light.overexposed", 0, 4), Effect("light.exposure", moves="up")),
    ),
    Fault(
        "washed_out",
        camera.washed_out,
        (0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9),
        "contrast lost",
        (Effect("light.grey_levels", 1, 3), Effect("light.entropy", 1, 3)),
    ),
    Fault(
        "posterised",
        camera.posterised,
        (220, 180, 140, 90, 48, 24, 10),
        "levels",
        (Effect("light.grey_levels", 2, 4),),
        True,
    ),
    Fault(
        "cast_orange",
        camera.cast_orange,
        (0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.8),
        "stops red/blue",
        (Effect("light.natural_colour", 3, 4),),
    ),
    Fault(
        "cast_blue",
        camera.cast_blue,
        (0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.8),
        "stops blue/red",
        (Effect("light.natural_colour", 3, 4),),
    ),
    Fault(
        "cast_green",
        camera.cast_green,
        (0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.8),
        "stops green",
        (Effect("light.natural_colour", 2, 4),),
    ),
    Fault(
        "greyscale",
        camera.greyscale,
        (0.1, 0.25, 0.5, 0.7, 0.85, 0.95, 1),
        "colour lost",
        (Effect("light.natural_colour", 2, 4),),
    ),
    Fault(
        "side_shadow",
        camera.side_shadow,
        (0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9),
        "light lost",
        (Effect("light.sides", 2, 4), Effect("light.even", 2, 5)),
    ),
    Fault(
        "socket_shadow",
        camera.socket_shadow,
        (0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9),
        "light lost",
        (Effect("light.shadows", 2, 4),),
    ),
    Fault(
        "hot_spots",
        camera.hot_spots,
        (1.5, 3, 5, 8, 12, 18, 26),
        "% of eye distance, radius",
        (Effect("light.hot_spots", 1, 3),),
    ),
    # Framing: the limits are the standard's.
    Fault(
        "small_head",
        scene.small_head,
        (74, 70, 65, 55, 48, 40, 32),
        "% head height",
        (Effect("geometry.head_height", 3, 3, "down"),),
    ),
    Fault(
        "large_head",
        scene.large_head,
        (79, 82, 86, 93, 98, 106, 115),
        "% head height",
        (
            Effect("geometry.head_height", 3, 3, "up"),
            Effect("geometry.head_inside", 3, 5),
            Effect("geometry.head_width", 3, None, "up"),
        ),
    ),
    Fault(
        "off_centre",
        scene.off_centre,
        (1, 2, 4, 7, 10, 14, 18),
        "% of the width",
        (Effect("geometry.horizontal", 3, 3),),
    ),
    Fault(
        "too_high",
        scene.too_high,
        (42, 38, 33, 27, 23, 18, 12),
        "% eye line",
        (Effect("geometry.vertical", 3, 3, "down"),),
    ),
    Fault(
        "too_low", scene.too_low, (44, 46, 48, 53, 57, 62, 68), "% eye line", (Effect("geometry.vertical", 3, 3, "up"),)
    ),
    Fault("tilted", scene.tilted, (1, 3, 5, 9, 12, 17, 25), "degrees", (Effect("pose.roll", 3, 3, "up"),)),
    Fault("wrong_aspect", scene.wrong_aspect, (0.2, 0.5, 2, 5, 10, 18, 30), "% wider", (Effect("image.aspect", 2, 2),)),
    Fault("lying", scene.lying, (90, 180, 270), "degrees", (Effect("image.upright", 0, 0),)),
    # Wall.
    Fault(
        "patterned_wall",
        scene.patterned_wall,
        (2, 5, 10, 20, 40, 70, 110),
        "grey levels",
        (Effect("background.uniform", 2, 4), Effect("background.one_colour")),
    ),
    Fault(
        "wall_object",
        scene.wall_object,
        (0.02, 0.05, 0.09, 0.14, 0.2, 0.28, 0.36),
        "of the height",
        (Effect("background.objects", 0, 2), Effect("background.one_colour")),
    ),
    Fault(
        "wall_gradient",
        scene.wall_gradient,
        (0.05, 0.1, 0.2, 0.35, 0.55, 0.75, 0.9),
        "light lost",
        (Effect("background.one_colour", 2, 4),),
    ),
    Fault(
        "wall_shadow",
        scene.wall_shadow,
        (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8),
        "light lost",
        (Effect("background.shadow", 2, 4),),
    ),
    Fault(
        "wall_colour",
        scene.wall_colour,
        (0.05, 0.1, 0.2, 0.35, 0.55, 0.75, 1),
        "share of blue",
        (Effect("background.colour", 1, 3),),
    ),
    Fault(
        "wall_dark",
        scene.wall_dark,
        (0.95, 0.85, 0.7, 0.5, 0.3, 0.15, 0.05),
        "of the light",
        (Effect("background.colour", 2, 4),),
    ),
    Fault(
        "second_person",
        scene.second_person,
        (0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.36),
        "of the size",
        (Effect("face.single", 0, 1),),
    ),
    # Eyes.
    Fault(
        "glasses",
        covers.glasses,
        (1, 2, 4, 7, 11, 16, 22),
        "% of eye distance, rim",
        (Effect("eyes.glasses", 0, 0), Effect("eyes.frames", 3, 5)),
    ),
    Fault(
        "tinted_lenses",
        covers.tinted_lenses,
        (0.95, 0.85, 0.7, 0.5, 0.3, 0.15, 0.05),
        "transmission",
        (Effect("eyes.dark_lenses", 2, 4),),
    ),
    Fault(
        "lens_glare",
        covers.lens_glare,
        (0.05, 0.1, 0.18, 0.28, 0.4, 0.6, 0.8),
        "of the lens",
        (Effect("eyes.reflection", 1, 2),),
    ),
    Fault("red_eye", covers.red_eye, (0.15, 0.25, 0.35, 0.45, 0.6, 0.8, 1), "of the iris", (Effect("eyes.red", 0, 2),)),
    Fault("gaze", covers.gaze, (2, 4, 7, 10, 14, 19, 25), "% of the eye's width", (Effect("eyes.gaze", 2, 4),)),
    Fault(
        "closing_eyes", covers.closing_eyes, (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1), "closed", (Effect("eyes.open", 2, 3),)
    ),
    Fault("eye_bar", covers.eye_bar, (3, 6, 10, 16, 24, 34, 45), "% of eye distance", (Effect("eyes.visible", 0, 1),)),
    Fault("hair_strands", covers.hair_strands, (1, 2, 4, 7, 11, 16, 24), "strands", (Effect("eyes.hair", 0, 2),)),
    # Mouth and what covers the face.
    Fault(
        "mouth_open",
        covers.mouth_open,
        (0.5, 1.5, 3, 5, 8, 12, 18),
        "% of eye-chin",
        (Effect("mouth.closed", 2, 3), Effect("mouth.lip_gap", 2, 4)),
    ),
    Fault("teeth", covers.teeth, (0.5, 1.5, 3, 5, 8, 12, 18), "% of eye-chin", (Effect("mouth.teeth", 1, 3),)),
    Fault(
        "face_mask",
        covers.face_mask,
        (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1),
        "of chin to nose bridge",
        (Effect("face.lower_visible", 0, 1),),
    ),
    Fault(
        "hand", covers.hand, (0.05, 0.15, 0.3, 0.45, 0.6, 0.8, 1), "of the mouth", (Effect("face.lower_visible", 0, 0),)
    ),
    Fault(
        "hat",
        covers.hat,
        (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1),
        "of the forehead",
        (Effect("face.forehead_visible", 0, 1),),
    ),
    Fault(
        "covered_sides",
        covers.covered_sides,
        (3, 7, 12, 18, 25, 33, 42),
        "% of eye distance",
        (Effect("face.sides_visible", 0, 3),),
    ),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
RULES = tuple(dict.fromkeys(effect.rule for fault in FAULTS for effect in fault.effects))


def files(portrait: Portrait, faults: tuple[Fault, ...]) -> Iterator[tuple[str, bytes, dict[str, int]]]:
    """Name, bytes and labels of the good portrait and of every grade of every fault."""
    data, suffix = encoded(portrait.pixels)
    yield f"{portrait.subject}_good{suffix}", data, dict.fromkeys(RULES, 0)
    for fault in faults:
        for grade, strength in enumerate(fault.strengths):
            labels = {e.rule: e.label(grade) for e in fault.effects}
            data, suffix = fault.file(portrait, strength)
            name = f"{portrait.subject}_{fault.name}_{grade + 1}{suffix}"
            yield name, data, {rule: label for rule, label in labels.items() if label is not None}


def write_dataset(out: Path, faults: tuple[Fault, ...] = FAULTS, people: tuple[str, ...] = PEOPLE) -> int:
    """The dataset folder; the number of pictures."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    with (out / "labels.csv").open("w", newline="", encoding="utf-8") as table, FaceModel() as model:
        rows = csv.writer(table)
        rows.writerow(["file", "subject", "group", *RULES])
        for portrait in portraits(model, people):
            for name, data, labels in files(portrait, faults):
                (out / name).write_bytes(data)
                rows.writerow([name, portrait.subject, "", *(labels.get(rule, "") for rule in RULES)])
                count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the fault bench as a dataset for `booth evaluate`.")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--faults", default=",".join(BY_NAME), help="names, with commas")
    parser.add_argument("--people", default=",".join(PEOPLE), help="names, with commas")
    told = parser.parse_args()
    faults = tuple(BY_NAME[name] for name in told.faults.split(","))
    count = write_dataset(told.out, faults, tuple(told.people.split(",")))
    print(f"{count} pictures of {len(faults)} faults in {told.out}; now: booth evaluate {told.out}")


if __name__ == "__main__":
    main()
