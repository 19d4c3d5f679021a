"""Random and mutated pictures through the checker: nothing crashes, hangs, or puts NaN into a report.

    .venv/bin/python tests/bench/fuzz_check.py 10000          prints how many of which kind, what they became, and every failure
    .venv/bin/python tests/bench/fuzz_check.py 1 --first 4711  one case again

Order of a case, all from its number: kind -> picture or file -> read_image (a refusal in the package's own words is a good end) -> scene of
the model, or a made-up scene -> judge under a random profile, now and then assess_live -> every number finite, the report survives JSON,
no numpy warning. A case of more than HANG_S seconds ends the run with all stacks.
"""

from __future__ import annotations

import argparse
import faulthandler
import math
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from validation.check import assess_live, judge
from validation.errors import ValidationError
from validation.face import Face, FaceBox, FaceModel, Scene
from validation.image import ImageFacts, read_image
from validation.report import Report
from validation.rules import load_profile, profile_names

APPLICANTS = Path(__file__).resolve().parents[2] / "hardware" / "sim" / "applicants"
SEED = 20261123
HANG_S = 60
LARGEST_PX = 1600
Random = np.random.Generator


class Material:
    """Pictures and meshes to start from, loaded once."""

    def __init__(self, model: FaceModel) -> None:
        names = [*sorted(APPLICANTS.glob("people/*/neutral.jpg")), *sorted(APPLICANTS.glob("variations/*.jpg"))[::3]]
        self.pictures = [cv2.resize(cv2.imread(str(name)), (480, 640), interpolation=cv2.INTER_AREA) for name in names]
        faces = [model.scene(picture, mask=False).face for picture in self.pictures[:6]]
        self.meshes = [face.landmarks for face in faces if face is not None]
        self.profiles = [load_profile(name) for name in profile_names()]

    def picture(self, random: Random) -> np.ndarray:
        return self.pictures[random.integers(len(self.pictures))]


def _size(random: Random) -> tuple[int, int]:
    """Width and height, small ones and odd shapes included."""
    side = int(np.exp(random.uniform(np.log(64), np.log(900))))
    return max(64, min(side, LARGEST_PX)), max(64, min(int(side * np.exp(random.uniform(-1.2, 1.2))), LARGEST_PX))


def moved(random: Random, material: Material) -> np.ndarray:
    """Cropped, turned, squeezed, mirrored, anywhere in a picture of any size: cut faces, tiny and huge ones."""
    source, (width, height) = material.picture(random), _size(random)
    scale = np.exp(random.uniform(-2, 1.3)) * max(width / 480, height / 640)
    turn = cv2.getRotationMatrix2D((240, 290), random.choice([0, random.uniform(-180, 180), 90, 180]), scale)
    turn[:, 0] *= random.choice([1, 1, -1, random.uniform(0.5, 1.5)])
    place = np.array([width, height]) * (0.5 + random.normal(0, 0.3, 2))
    turn[:, 2] += place - turn @ np.array([240, 290, 1])
    edge = int(random.choice([cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT]))
    return cv2.warpAffine(
        source, turn, (width, height), borderMode=edge, borderValue=random.uniform(0, 255, 3).tolist()
    )


def several(random: Random, material: Material) -> np.ndarray:
    """Two to five people in one picture."""
    page = cv2.resize(material.picture(random), _size(random))
    for _ in range(random.integers(1, 5)):
        small = cv2.resize(material.picture(random), None, fx=(f := random.uniform(0.1, 0.8)), fy=f)
        x, y = (int(random.uniform(0, max(a - 20, 1))) for a in page.shape[1::-1])
        part = page[y : y + small.shape[0], x : x + small.shape[1]]
        part[:] = small[: part.shape[0], : part.shape[1]]
    return page


def levelled(random: Random, material: Material) -> np.ndarray:
    """Extreme light, contrast, colour, noise, blur, few grey levels."""
    image = moved(random, material) if random.random() < 0.4 else material.picture(random).copy()
    values = image.astype(np.float32)
    for _ in range(random.integers(1, 4)):
        match random.integers(7):
            case 0:
                values = values * np.exp(random.uniform(-6, 4))
            case 1:
                values = values * random.uniform(0, 2, 3)
            case 2:
                values = values + random.normal(0, np.exp(random.uniform(0, 5)), values.shape)
            case 3:
                values = (values - 128) * np.exp(random.uniform(-5, 3)) + random.uniform(-50, 300)
            case 4:
                step = random.choice([2, 16, 64, 128, 254])
                values = np.floor(values / step) * step
            case 5:
                values = cv2.GaussianBlur(values, (0, 0), np.exp(random.uniform(-1, 4)))
            case _:
                values[...] = values.mean(axis=2, keepdims=True)
        values = np.clip(values, 0, 255)
    return values.astype(np.uint8)


def painted(random: Random, material: Material) -> np.ndarray:
    """Flat boxes and stripes of extreme colours over a face: whole regions without any spread."""
    image = material.picture(random).copy()
    for _ in range(random.integers(1, 6)):
        x, y = random.integers(0, 440), random.integers(0, 600)
        colour = random.choice([0, 255, 128, random.integers(256)]) if random.random() < 0.5 else None
        box = image[y : y + random.integers(10, 500), x : x + random.integers(10, 400)]
        box[:] = random.integers(0, 256, 3) if colour is None else colour
    return image


def senseless(random: Random, _: Material) -> np.ndarray:
    """Flat, noise, gradients, stripes: no face at all."""
    width, height = _size(random)
    match random.integers(4):
        case 0:
            return np.full((height, width, 3), random.choice([0, 255, random.integers(256)]), np.uint8)
        case 1:
            return random.integers(0, 256, (height, width, 3), np.uint8)
        case 2:
            ramp = np.linspace(0, 255, width).astype(np.uint8)
            return np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (height, width, 3)))
        case _:
            stripes = (np.arange(height) // random.integers(1, 40) % 2 * 255).astype(np.uint8)
            return np.ascontiguousarray(np.broadcast_to(stripes[:, None, None], (height, width, 3)))


def damaged_file(random: Random, material: Material) -> bytes:
    """A file with flipped bits, missing or repeated bytes, or cut off."""
    kind = str(random.choice([".jpg", ".png", ".webp", ".bmp", ".jp2"]))
    small = cv2.resize(material.picture(random), (150, 200))
    data = bytearray(cv2.imencode(kind, small)[1].tobytes())
    for _ in range(random.integers(1, 12)):
        at = int(random.integers(len(data)) if random.random() < 0.6 else random.integers(min(len(data), 600)))
        match random.integers(5):
            case 0:
                data = data[: max(at, 1)]
            case 1:
                del data[at : at + int(random.integers(1, 64))]
            case 2:
                data[at:at] = random.bytes(int(random.integers(1, 64)))
            case _:
                data[at] ^= 1 << int(random.integers(8))
        if not data:
            data = bytearray(b"\xff")
    return bytes(data)


PICTURES: Mapping[str, Callable[[Random, Material], np.ndarray]] = {
    "moved": moved,
    "several": several,
    "levelled": levelled,
    "painted": painted,
    "senseless": senseless,
}
# Made-up scenes are cheap and go furthest: half of all cases.
KINDS = (*PICTURES, "damaged_file", *(("made_up_scene",) * 6))


def made_up_scene(random: Random, material: Material, image: np.ndarray) -> Scene:
    """Landmarks that no model would give, masks of one value, boxes anywhere."""
    height, width = image.shape[:2]
    points = material.meshes[random.integers(len(material.meshes))].astype(np.float64)
    points[:, :2] *= np.array([width / 480, height / 640])
    match random.integers(7):
        case 0:  # as found, shaken
            points += random.normal(0, np.exp(random.uniform(-2, 4)), points.shape)
        case 1:  # anywhere, any size
            points[:, :2] = (points[:, :2] - points[:, :2].mean(axis=0)) * np.exp(random.uniform(-4, 2))
            points[:, :2] += random.uniform(-0.5, 1.5, 2) * np.array([width, height])
        case 2:  # all in one place or on one line
            points *= random.choice([0, 1], 3)
        case 3:
            points = random.uniform(-200, 1200, points.shape)
        case 4:  # upside down, mirrored, squeezed
            points[:, :2] *= random.choice([-1, 0.01, 1], 2)
            points[:, :2] += random.uniform(0, 1, 2) * np.array([width, height])
        case 5:  # some landmarks are one
            points[random.integers(0, 478, 200)] = points[random.integers(478)]
        case _:
            pass
    faces = [Face(points.astype(np.float32), width, height)] * int(random.choice([0, 1, 1, 1, 1, 2]))
    boxes = tuple(
        FaceBox(*(float(v) for v in random.uniform(-50, 500, 2)), *(float(v) for v in random.choice([0, 1, 300], 2)))
        for _ in range(random.integers(0, 3))
    )
    mask: np.ndarray | None
    match random.integers(6):
        case 0:
            mask = None
        case 1:
            mask = np.zeros((height, width), np.uint8)
        case 2:
            mask = np.full((height, width), 255, np.uint8)
        case 3:
            mask = random.integers(0, 256, (height, width), np.uint8)
        case _:
            mask = np.zeros((height, width), np.uint8)
            centre = int(width * random.uniform(0, 1)), int(height * random.uniform(0, 1.2))
            cv2.ellipse(mask, centre, (width // 3, height // 2), 0, 0, 360, 255, -1)
    return Scene(tuple(faces), boxes, mask)


def numbers(value: object) -> Iterator[float]:
    """Every number in a report."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from numbers(part)


def hold(report: Report) -> None:
    """Raises when a report is not fit to be told."""
    text = report.model_dump_json()
    if Report.model_validate_json(text).model_dump_json() != text:
        raise AssertionError("the report does not survive JSON")
    if not all(math.isfinite(number) for number in numbers(report.model_dump())):
        raise AssertionError("the report holds a number that is none")


def one(number: int, material: Material, model: FaceModel) -> tuple[str, str]:
    """Kind and end of a case; raises what the checker raised."""
    random = np.random.default_rng([SEED, number])
    kind = str(random.choice(KINDS))
    source: ImageFacts | None = None
    if kind == "damaged_file":
        try:
            image, source = read_image(damaged_file(random, material))
        except ValidationError as refused:
            return kind, f"refused: {refused.code}"
    elif kind == "made_up_scene":
        image = (painted if random.random() < 0.3 else moved)(random, material)
    else:
        image = PICTURES[kind](random, material)
    scene = made_up_scene(random, material, image) if kind == "made_up_scene" else model.scene(image)
    profile = material.profiles[random.integers(len(material.profiles))]
    report = judge(image, scene, profile, source=source)
    hold(report)
    if random.random() < 0.3:
        still = (image.shape[1] * 2, image.shape[0] * 2) if random.random() < 0.5 else None
        hold(assess_live(image, scene, profile, still_size=still))
    return kind, "judged" if scene.face is not None else "no face"


def run(count: int, first: int = 0) -> tuple[Counter[tuple[str, str]], list[tuple[int, str]], float]:
    """How the cases ended, the failures with their numbers, and the slowest case's seconds."""
    ends: Counter[tuple[str, str]] = Counter()
    failures: list[tuple[int, str]] = []
    slowest = 0.0
    with FaceModel() as model, warnings.catch_warnings():
        material = Material(model)
        warnings.simplefilter("error", RuntimeWarning)
        for number in range(first, first + count):
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            start = time.monotonic()
            try:
                ends[one(number, material, model)] += 1
            except Exception:  # noqa: BLE001 - whatever the checker raises is what is looked for
                failures.append((number, traceback.format_exc()))
            slowest = max(slowest, time.monotonic() - start)
            faulthandler.cancel_dump_traceback_later()
    return ends, failures, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description="Random and mutated pictures through the checker.")
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    told = parser.parse_args()
    ends, failures, slowest = run(told.count, told.first)
    for (kind, end), count in sorted(ends.items()):
        print(f"{kind:15} {end:30} {count}")
    for number, trace in failures:
        print(f"\ncase {number}\n{trace}")
    print(f"{told.count} cases from {told.first}: {len(failures)} failed; the slowest took {slowest:.2f} s")
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
