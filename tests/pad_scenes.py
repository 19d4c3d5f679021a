"""Presentations for the presentation attack score: rendered people and attacks under lamps that move as the probe moves them.

Everything is brought to one picture size and gets the same noise before a face is looked for, so that neither resolution nor grain can tell
an attack (attacks were rendered at 640x853, people at 960x1280). Light is added in float from the passes (hardware/sim/applicants/README.md).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import cv2
import numpy as np

from capture.probe import LAMPS, PROBE_S, level_at
from hardware.sim.passes import APPLICANTS, EXPOSURE_SCALE, decode_srgb, encode_srgb
from validation.pad import assess
from validation.pad_cues import Course, cut_face

SIZE = (480, 640)  # width and height that everything is brought to
COMMON = (640, 853)  # what the attacks were rendered at; people are made as soft as that first
CHANNELS = (*LAMPS, "background", "ambient", "screen")
PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
KINDS = ("print_flat", "print_bent", "screen")
FPS = 15
WALL = 0.06  # outer columns of the picture that show the wall, and their rows
WALL_ROWS = (0.05, 0.45)
KEPT = 12
LIGHT = (decode_srgb(np.arange(256) / 255) / EXPOSURE_SCALE).astype(np.float32)
CODES = (255 * encode_srgb(np.arange(65536) / 65535)).astype(np.float32)
DAYLIGHT = {"left": "key_left", "right": "key_right", "top": "fill_top"}


@dataclass(frozen=True)
class Situation:
    """How the booth is while somebody, or something, is presented."""

    strengths: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of the three lamps; 0 is dead
    ambient: float = 1.0
    daylight: tuple[str, float] = ("left", 0.0)
    noise: float = 1.0  # standard deviation in 8-bit codes
    move: float = 0.0  # how far the presented thing moves, in eye distances
    delay_ms: float = 0.0
    exposure: float = 1.0
    seed: int = 1
    frames: tuple[int, ...] = field(default=())  # of anna's recorded session, one after another, for movement in depth


@functools.lru_cache(maxsize=8)
def passes(folder: str) -> dict[str, np.ndarray]:
    """The linear light of each channel; `people/anna`, `attacks/anna_screen`, `session/21`."""
    found = {}
    for channel in CHANNELS:
        path = APPLICANTS / folder / f"pass_{channel}.jpg"
        if folder.startswith("session/"):
            path = APPLICANTS / "session" / "passes" / f"frame_{folder.split('/')[1]}_{channel}.jpg"
        if path.is_file():
            pixels = cv2.imread(str(path))
            if pixels.shape[1] != COMMON[0]:
                pixels = cv2.resize(pixels, COMMON, interpolation=cv2.INTER_AREA)
            found[channel] = cv2.resize(LIGHT[pixels], SIZE, interpolation=cv2.INTER_AREA)
    return found


@functools.lru_cache(maxsize=40)
def walls(folder: str) -> dict[str, float]:
    """The light of the wall beside the head by channel."""
    return {channel: wall_of(light) for channel, light in passes(folder).items()}


def weights_of(relative: dict[str, float], situation: Situation) -> dict[str, float]:
    """What each channel counts; `relative` are the lamps' changes (1 = base)."""
    weights = {
        **{lamp: relative[lamp] * strength for lamp, strength in zip(LAMPS, situation.strengths, strict=True)},
        "background": 1.0,
        "ambient": situation.ambient,
        "screen": 1.0,
    }
    side, amount = situation.daylight
    weights[DAYLIGHT[side]] += amount
    return {channel: weight * situation.exposure for channel, weight in weights.items()}


def picture_of(folder: str, weights: dict[str, float]) -> np.ndarray:
    """The picture in 8-bit codes, not rounded."""
    stack = passes(folder)
    total = sum(stack[name] * np.float32(weight) for name, weight in weights.items() if name in stack)
    return CODES[np.minimum(total * 65535, 65535).astype(np.uint16)]


def present(model, folder: str, situation: Situation, base: float = 62.5):
    """One presentation: (frames, levels, wall) as the probe hands them on; fewer frames where no face was found."""
    random = np.random.default_rng(situation.seed)
    clock = np.arange(0, PROBE_S + 1e-9, 1 / FPS)
    levels = {lamp: Course(tuple(clock * 1000), tuple(level_at(lamp, t, base) for t in clock)) for lamp in LAMPS}
    kept = set(np.linspace(0, len(clock) - 1, KEPT * 2 + 1).round().astype(int)[1::2])
    wall_folder = f"session/{situation.frames[0]:02d}" if situation.frames else folder
    on_wall, frames = [], []
    phase = random.uniform(0, 6.28, 3)
    for number, t in enumerate(clock):
        lit = max(t - situation.delay_ms / 1000, 0.0)
        relative = {lamp: level_at(lamp, lit, base) / base for lamp in LAMPS}
        weights = weights_of(relative, situation)
        on_wall.append(sum(light * weights[channel] for channel, light in walls(wall_folder).items()))
        if number not in kept:
            continue
        source = folder
        if situation.frames:
            source = f"session/{situation.frames[len(frames) * len(situation.frames) // KEPT]:02d}"
        picture = _moved(picture_of(source, weights), situation.move * np.sin(phase + t * np.array([1.3, 1.7, 0.9])))
        picture += np.float32(situation.noise) * random.standard_normal(picture.shape, dtype=np.float32)
        pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        face = model.scene(pixels, mask=False).face
        if face is not None:
            frames.append(cut_face(pixels, face.landmarks, t * 1000))
    noisy = np.array(on_wall) * (1 + random.normal(0, 0.0005 * situation.noise, len(on_wall)))
    return tuple(frames), levels, Course(tuple(clock * 1000), tuple(noisy))


def wall_of(light: np.ndarray) -> float:
    """Mean light of the wall beside the head."""
    height, width = light.shape[:2]
    rows = slice(int(WALL_ROWS[0] * height), int(WALL_ROWS[1] * height))
    side = int(WALL * width)
    return float(np.mean([light[rows, :side].mean(), light[rows, -side:].mean()]))


def _moved(picture: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Shifted, turned and resized a little; `by` in eye distances (some 96 px here)."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(by[2]) * 10, 1 + 0.1 * float(by[2]))
    matrix[:, 2] += by[:2] * 96
    return cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def score(model, folder: str, situation: Situation | None = None):
    """The score of one presentation."""
    return assess(*present(model, folder, situation or Situation()))
