"""From lamps and lens to pixels: one picture of the booth, relit and seen through the camera's settings.

Order: passes of the source -> card held in front -> framing (zoom, pan, tilt; wall around it) -> roll -> test card in its holder -> light
added in linear 16-bit integers, each pass times lamp level, exposure and white balance -> focus blur -> sRGB -> flip. Sensor noise is added
per exposure, not here (`Noise`).

Every step before the light depends only on what is in front of the camera and is cached; the light is a table per pass and level. A picture
is computed again only when its `View` changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from hardware.sim.card import held_card
from hardware.sim.passes import SRGB_TABLE, StackCache, add_light, read_pass
from hardware.sim.sheet import Aim, Sheet
from hardware.sim.wall import EDGE_PX, Surroundings, empty_pass

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from hardware.sim.passes import Image, Light16, Source

Size = tuple[int, int]
Gains = tuple[float, float, float]  # blue, green, red

REFERENCE_WIDTH_PX: Final = 960  # blur is told in pixels of a frame this wide
MAX_DIRECT_SIGMA_PX: Final = 4.0
# Passes of a picture larger than this are added one after the other and never all in memory (five of 1920x2560 are 74 MB).
ONE_BY_ONE_PX: Final = 2_000_000
NOISE_TILE_PX: Final = 700
NOISE_UNIT: Final = 16  # the stored field has this standard deviation
NOISE_SIGMA: Final = 1.0  # 8-bit code at 0 dB: a good small sensor in good light


@dataclass(frozen=True, slots=True)
class Framing:
    """What part of the rendered frame the lens shows: magnification (1 = all of it) and the shift of its centre in frame sizes."""

    magnification: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    @property
    def is_native(self) -> bool:
        """Whether the picture is the rendered frame itself."""
        return self == Framing()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sitter is, from where the rendered one sits: to the picture's right and down in frame sizes, and how large."""

    x: float = 0.0
    y: float = 0.0
    size: float = 1.0

    def seen(self, framing: Framing) -> Framing:
        """What the lens shows of the rendered frame when the sitter is there."""
        if self == Place():
            return framing
        return Framing(
            framing.magnification * self.size,
            (framing.shift_x - self.x) / self.size,
            (framing.shift_y - self.y) / self.size,
        )


@dataclass(frozen=True, slots=True)
class View:
    """Everything a picture depends on."""

    source: Source
    levels: tuple[Gains, ...]  # per pass, exposure and white balance already in
    card: str | None = None
    framing: Framing = Framing()
    blur_px: float = 0.0
    gain_db: float = 0.0
    flip: bool = False
    mirror: bool = False
    roll_deg: float = 0.0
    sheet: Aim | None = None  # the test card hangs in its holder
    noise: float = 1.0  # of the usual sensor noise


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Pixels without noise, and the size they were enlarged from if they were."""

    pixels: Image
    upscaled_from: Size | None


class Renderer:
    """Makes pictures of one size; used by one thread."""

    def __init__(self, cache: StackCache) -> None:
        self._cache = cache
        self._last: tuple[View, Size, Picture] | None = None
        self.renders = 0
        self.last_ms = 0.0

    def picture(self, view: View, size: Size) -> Picture:
        """The picture of this view."""
        view = replace(view, gain_db=0.0, noise=1.0)  # noise is not part of it
        if self._last is not None and self._last[0] == view and self._last[1] == size:
            return self._last[2]
        start = time.perf_counter()
        stack, upscaled_from = self._stack(view, size)
        light = add_light(stack, view.levels)
        del stack
        if view.blur_px > 0:
            light = _blurred(light, view.blur_px * size[0] / REFERENCE_WIDTH_PX)
        pixels = np.asarray(cv2.LUT(light, SRGB_TABLE), dtype=np.uint8)
        if view.flip or view.mirror:
            pixels = np.asarray(cv2.flip(pixels, {(1, 0): 0, (0, 1): 1, (1, 1): -1}[view.flip, view.mirror]))
        picture = Picture(pixels, upscaled_from)
        self._last = (view, size, picture)
        self.renders += 1
        self.last_ms = (time.perf_counter() - start) * 1000
        return picture

    def prepare(self, view: View, size: Size) -> None:
        """Has the passes of a view ready; may be called from any thread."""
        self._stack(view, size)

    def _stack(self, view: View, size: Size) -> tuple[Iterable[Image], Size | None]:
        source, framing = view.source, view.framing
        upscaled_from = None
        key: Hashable = (source, view.card, view.sheet, size)
        if source.kind != "wall":
            native = source.native
            seen = (round(native[0] / framing.magnification), round(native[1] / framing.magnification))
            upscaled_from = seen if seen[0] < size[0] or seen[1] < size[1] else None
            key = (source, view.card, framing, view.roll_deg, view.sheet, size)
        if size[0] * size[1] > ONE_BY_ONE_PX:
            return self._passes(view, size), upscaled_from
        return self._cache.get(key, lambda: tuple(self._passes(view, size))), upscaled_from

    def _passes(self, view: View, size: Size) -> Iterator[Image]:
        """The passes of what the lens shows, one after the other."""
        source = view.source
        if source.kind == "wall":
            card = held_card(view.card, size) if view.card is not None else None
            walls = ((channel, empty_pass(channel, size)) for channel in source.channels)
            frames: Iterator[Image] = (card(channel, wall) if card is not None else wall for channel, wall in walls)
        else:
            frames = self._framed(view, size)
        sheet = Sheet(view.sheet, size) if view.sheet is not None else None
        for channel, image in zip(source.channels, frames, strict=True):
            yield image if sheet is None else sheet.on(channel, image)

    def _framed(self, view: View, size: Size) -> Iterator[Image]:
        """A rendered frame as the lens shows it. What moves in the picture is scaled once and then only put elsewhere."""
        source, framing = view.source, view.framing
        scaled = round(size[0] * framing.magnification), round(size[1] * framing.magnification)
        window = None if framing.is_native else Window(framing, source.native, size)
        frames: Iterable[Image] = _scaled(source, view.card, source.native)
        if scaled[0] * scaled[1] <= ONE_BY_ONE_PX:
            key = (source, view.card, scaled)
            frames = whole = self._cache.get(key, lambda: tuple(_scaled(source, view.card, scaled)))
            window = None if framing.is_native else Window(framing, scaled, size)
            if window is not None and not window.covers:
                window.surround(whole[source.channels.index("background")])
        elif window is not None and not window.covers:
            window.surround(read_pass(source, "background"))
        for channel, image in zip(source.channels, frames, strict=True):
            seen = frame_pass(image, size) if window is None else window.of(channel, image)
            yield _rolled(seen, view.roll_deg) if view.roll_deg else seen


def _scaled(source: Source, text: str | None, size: Size) -> Iterator[Image]:
    """The whole rendered frame at this size, with the card held in front."""
    card = held_card(text, source.native) if text is not None else None
    for channel in source.channels:
        image = read_pass(source, channel)
        yield frame_pass(image if card is None else card(channel, image), size)


def _rolled(pixels: Image, roll_deg: float) -> Image:
    """The picture turned clockwise about its middle; at the corners its border goes on."""
    height, width = pixels.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), -roll_deg, 1.0)
    turned = cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, dtype=np.uint8)


def frame_pass(image: Image, size: Size) -> Image:
    """One pass of the whole frame at the size of the picture."""
    return image if (image.shape[1], image.shape[0]) == size else _resized(image, size)


class Window:
    """What the lens shows of a rendered frame of size `native`: part of it, or all of it and the wall around."""

    def __init__(self, framing: Framing, native: Size, size: Size) -> None:
        self._size, (width, height) = size, size
        native_width, native_height = native
        self._scale = framing.magnification * width / native_width, framing.magnification * height / native_height
        scale_x, scale_y = self._scale
        # The window in native pixels, and the whole pixels of the frame inside it.
        self._left = left = (0.5 + framing.shift_x) * native_width - width / scale_x / 2
        self._top = top = (0.5 + framing.shift_y) * native_height - height / scale_y / 2
        right, bottom = left + width / scale_x, top + height / scale_y
        self.covers = left >= 0 and top >= 0 and right <= native_width and bottom <= native_height
        trim = 0 if self.covers else EDGE_PX
        self._xs = max(trim, int(np.floor(left))), min(native_width - trim, int(np.ceil(right)))
        self._ys = max(trim, int(np.floor(top))), min(native_height - trim, int(np.ceil(bottom)))
        self._inner = (
            round(-left * scale_x),
            round(-top * scale_y),
            round(native_width * scale_x),
            round(native_height * scale_y),
        )
        self._surroundings: Surroundings | None = None

    def surround(self, background: Image) -> None:
        """Has the wall go on around the frame; its background pass tells person from wall."""
        self._surroundings = Surroundings(self._size, self._inner, background)

    def of(self, channel: str, image: Image) -> Image:
        """One pass as the lens shows it."""
        width, height = self._size
        if self._surroundings is None:
            canvas = np.empty((height, width, 3), np.uint8)
        else:
            canvas = self._surroundings.around(channel, image)
        (x0, x1), (y0, y1), (scale_x, scale_y) = self._xs, self._ys, self._scale
        if x1 > x0 and y1 > y0:
            part = (max(1, round((x1 - x0) * scale_x)), max(1, round((y1 - y0) * scale_y)))
            piece = frame_pass(image[y0:y1, x0:x1], part)
            _paste(canvas, piece, round((x0 - self._left) * scale_x), round((y0 - self._top) * scale_y))
        return canvas


def _resized(image: Image, size: Size) -> Image:
    shrinks = size[0] <= image.shape[1]
    return np.asarray(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), dtype=np.uint8
    )


def _paste(canvas: Image, piece: Image, x: int, y: int) -> None:
    """Puts the piece on the canvas; a rounding remainder of a pixel at the far edges repeats the piece's last row and column."""
    height, width = canvas.shape[:2]
    left, top = max(0, x), max(0, y)
    right, bottom = min(width, x + piece.shape[1]), min(height, y + piece.shape[0])
    canvas[top:bottom, left:right] = piece[top - y : bottom - y, left - x : right - x]
    if width - 2 <= right < width:
        canvas[top:bottom, right:] = canvas[top:bottom, right - 1 : right]
    if height - 2 <= bottom < height:
        canvas[bottom:, left:] = canvas[bottom - 1 : bottom, left:]


def _blurred(light: Light16, sigma_px: float) -> Light16:
    """Gaussian blur; a wide one on a smaller picture, where it shows no difference."""
    height, width = light.shape[:2]
    shrink = 1
    while sigma_px / shrink > MAX_DIRECT_SIGMA_PX:
        shrink *= 2
    if shrink == 1:
        return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma_px), dtype=np.uint16)
    small = cv2.resize(light, (max(1, width // shrink), max(1, height // shrink)), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), sigma_px / shrink)
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint16)


class Noise:
    """Sensor noise: a different piece of one seeded field for every exposure, stronger with gain."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        side = NOISE_TILE_PX
        field = 128 + NOISE_UNIT * self._random.standard_normal((side, side, 3), dtype=np.float32)
        self._field = np.clip(np.rint(field), 0, 255).astype(np.uint8)

    def on(self, pixels: Image, gain_db: float, factor: float = 1.0) -> Image:
        """The pixels as one exposure gives them; `factor` is a worse sensor's."""
        sigma = NOISE_SIGMA * factor * max(1.0, 10 ** (gain_db / 20))
        table = np.rint((np.arange(256) - 128) * sigma / NOISE_UNIT + self._dither()).astype(np.int16)
        height, width = pixels.shape[:2]
        y, x = (int(offset) for offset in self._random.integers(0, NOISE_TILE_PX, 2))
        field = np.roll(self._field, (-y, -x), (0, 1))
        noise = np.asarray(cv2.LUT(field, table))
        tiles = (-(-height // NOISE_TILE_PX), -(-width // NOISE_TILE_PX), 1)
        noise = np.tile(noise, tiles)[:height, :width] if tiles != (1, 1, 1) else noise[:height, :width]
        return np.asarray(cv2.add(pixels, noise, dtype=cv2.CV_8U), dtype=np.uint8)

    def _dither(self) -> float:
        """A quarter code up or down, so that the rounding of the table is not the same in every exposure."""
        return float(self._random.uniform(-0.25, 0.25))
