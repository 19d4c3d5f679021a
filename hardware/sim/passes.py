"""The light passes: one picture per lamp group, decoded when needed and kept within a memory limit.

A pass holds `encode_sRGB(linear * 2.0)`; a picture is the sum of its passes in linear light, each times its level (applicants/README.md).
A variation (somebody with glasses, with the mouth open, …) was rendered in the light of all lamps: each lamp gets its mean share of it, so that
the picture is the rendered one at full light and gets darker and warmer with the lamps, evenly everywhere.
Passes stay 8 bit; light is added in 16-bit integers where 65535 is white (linear 1.0).
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from hardware.sim.scenarios import LAMPS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]
    Light16 = npt.NDArray[np.uint16]
    Stack = tuple[Image, ...]

APPLICANTS: Final = Path(__file__).resolve().parent / "applicants"
CHANNELS: Final = (*LAMPS, "ambient")
SCREEN: Final = "screen"  # the light of a display, always on; no lamp
EXPOSURE_SCALE: Final = 2.0  # labels.json, "exposure_scale"
WHITE: Final = 65535
VARIATION_WIDTH_PX: Final = 640
CACHE_LIMIT_BYTES: Final = 56 * 2**20
# A stack above this is not kept: it would push out everything else.
CACHE_ITEM_LIMIT_BYTES: Final = 24 * 2**20


class ApplicantsMissingError(Exception):
    """A picture of the virtual applicants is not there or cannot be read."""


@dataclass(frozen=True, slots=True)
class Source:
    """A set of passes: `session` and a frame number, `people`, `stills` or `attacks` and a name, `variations` and a file, or the empty `wall`."""

    kind: str
    name: str = ""

    @property
    def native(self) -> tuple[int, int]:
        """Width and height of its pictures."""
        return {"people": (960, 1280), "stills": (1920, 2560)}.get(self.kind, (640, 853))

    def path(self, channel: str) -> Path:
        """The file of one pass; of a variation, the one picture."""
        if self.kind == "variations":
            return APPLICANTS / "variations" / f"{self.name}.jpg"
        if self.kind == "session":
            return APPLICANTS / "session" / "passes" / f"frame_{int(self.name):02d}_{channel}.jpg"
        return APPLICANTS / self.kind / self.name / f"pass_{channel}.jpg"

    @property
    def channels(self) -> tuple[str, ...]:
        """Its passes: one of each lamp group, one of the room, and of a screen held up to the camera its own light."""
        return (*CHANNELS, SCREEN) if self.kind == "attacks" and self.name.endswith(SCREEN) else CHANNELS

    @property
    def is_rendered(self) -> bool:
        """Whether a variation is a picture of its own; the others are the neutral one in another light, which the lamps do here."""
        return bool(_read(self.path(""), cv2.IMREAD_REDUCED_GRAYSCALE_8).shape[1] == VARIATION_WIDTH_PX // 8)

    @property
    def exists(self) -> bool:
        """Whether the pictures are there."""
        return all(self.path(channel).is_file() for channel in CHANNELS)


def looks_of(person: str) -> dict[str, Source]:
    """How a person can look: the rendered variations by name, and the presentation attacks: a print or a screen of him held up."""
    found = sorted((APPLICANTS / "variations").glob(f"{person}_*.jpg"))
    sources = {path.stem.removeprefix(f"{person}_"): Source("variations", path.stem) for path in found}
    looks = {name: source for name, source in sources.items() if source.is_rendered}
    attacks = sorted((APPLICANTS / "attacks").glob(f"{person}_*/"))
    return looks | {path.name.removeprefix(f"{person}_"): Source("attacks", path.name) for path in attacks}


def read_pass(source: Source, channel: str, flags: int = cv2.IMREAD_COLOR_BGR) -> Image:
    """Decodes one pass."""
    if source.kind == "variations":
        return _share(_read(source.path(channel), flags), source.name.split("_")[0], channel)
    return _read(source.path(channel), flags)


def _share(pixels: Image, person: str, channel: str) -> Image:
    """The part of a baked picture that comes from one lamp group."""
    table = PASS_LIGHT * EXPOSURE_SCALE
    part = [encode_srgb(table * share * EXPOSURE_SCALE) for share in _shares(person)[channel]]
    return np.asarray(cv2.LUT(pixels, np.rint(255 * np.stack(part, axis=-1)[None]).clip(0, 255).astype(np.uint8)))


@functools.cache
def _shares(person: str) -> dict[str, tuple[float, ...]]:
    """Each lamp group's share of the person's light (blue, green, red), all groups at level 1."""
    sums = {
        channel: PASS_LIGHT[_read(Source("people", person).path(channel), cv2.IMREAD_REDUCED_COLOR_8)].mean(axis=(0, 1))
        for channel in CHANNELS
    }
    whole = np.sum(list(sums.values()), axis=0)
    return {channel: tuple(float(part) for part in light / whole) for channel, light in sums.items()}


def _read(path: Path, flags: int) -> Image:
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise ApplicantsMissingError(f"{path} is missing or not a picture: restore hardware/sim/applicants")
    return np.asarray(pixels, dtype=np.uint8)


def decode_srgb(code: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """SRGB code value 0..1 to linear light (IEC 61966-2-1)."""
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def encode_srgb(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Linear light to sRGB code value 0..1 (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


PASS_LIGHT: Final = decode_srgb(np.arange(256) / 255) / EXPOSURE_SCALE
SRGB_TABLE: Final = np.rint(255 * encode_srgb(np.arange(WHITE + 1) / WHITE)).astype(np.uint8)


def add_light(stack: Iterable[Image], levels: tuple[tuple[float, float, float], ...]) -> Light16:
    """The sum of the passes at these levels (blue, green, red for each pass), clipped at white."""
    total: Light16 | None = None
    shape: tuple[int, ...] = ()
    for pixels, level in zip(stack, levels, strict=True):
        shape = pixels.shape
        if not any(level):
            continue
        scaled = np.clip(np.rint(WHITE * PASS_LIGHT[:, None] * np.asarray(level)[None, :]), 0, WHITE)
        table = scaled.astype(np.uint16)
        lit: Light16
        if level[0] == level[1] == level[2]:
            lit = np.asarray(cv2.LUT(pixels, table[:, 0]), dtype=np.uint16)
        else:
            lit = np.asarray(cv2.LUT(pixels, table[:, None, :]), dtype=np.uint16)
        total = lit if total is None else np.asarray(cv2.add(total, lit, dst=total), dtype=np.uint16)
    return np.zeros(shape, np.uint16) if total is None else total


class StackCache:
    """Stacks by key, oldest out first; shared by the preview and the still, which render on different threads."""

    def __init__(self, limit_bytes: int = CACHE_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._stacks: OrderedDict[Hashable, Stack] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """What it holds now."""
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], Stack]) -> Stack:
        """The stack of this key, made when it is not there."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:  # who asks for a stack that is being made waits for it and does not make it again
            with self._lock:
                if key in self._stacks:
                    self._stacks.move_to_end(key)
                    self._making.pop(key, None)
                    return self._stacks[key]
            stack = make()
            with self._lock:
                self._making.pop(key, None)
                self._keep(key, stack)
            return stack

    def _keep(self, key: Hashable, stack: Stack) -> None:
        size = _bytes(stack)
        if size > CACHE_ITEM_LIMIT_BYTES or key in self._stacks:
            return
        self._stacks[key] = stack
        self._bytes += size
        while self._bytes > self._limit and len(self._stacks) > 1:
            self._bytes -= _bytes(self._stacks.popitem(last=False)[1])


def _bytes(stack: Stack) -> int:
    return sum(image.nbytes for image in stack)
