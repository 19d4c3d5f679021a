"""Reading a submitted picture. Nothing is decoded before its header is understood and its size allowed.

Order: regular file, size limit -> format by its first bytes -> header walk (dimensions, bits, colour, frames, turn; damage) -> refusals in one
sentence -> decode to BGR, 8 bits -> turn as EXIF says. Pixels leave un-mirrored and upright; what was found is told in ImageFacts.
Refused: what is no picture, damaged or cut off (ImageUnreadableError); more than 64 million pixels or 100 MB (ImageTooLargeError); animations,
CMYK and pictures too small to hold a face (NotJudgeableError).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.errors import ImageTooLargeError, ImageUnreadableError, NotJudgeableError
from validation.icc import is_srgb, reported
from validation.image_header import Header, read_header

MAX_FILE_BYTES = 100 * 1000 * 1000
MAX_PIXELS = 64 * 1000 * 1000
MIN_SIDE_PX = 64

# EXIF orientation -> what cv2 does to the stored pixels (TIFF 6.0 / EXIF 2.32, tag 274).
_TURNS: dict[int, tuple[int | None, int | None]] = {
    1: (None, None),
    2: (None, 1),
    3: (cv2.ROTATE_180, None),
    4: (None, 0),
    5: (cv2.ROTATE_90_COUNTERCLOCKWISE, 0),
    6: (cv2.ROTATE_90_CLOCKWISE, None),
    7: (cv2.ROTATE_90_CLOCKWISE, 0),
    8: (cv2.ROTATE_90_COUNTERCLOCKWISE, None),
}


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the file was before decoding."""

    format: str  # "JPEG", "PNG", …
    lossy: bool
    exif_orientation: int  # 1 = stored upright
    bits: int  # per channel, in the file
    colour: str  # "rgb", "grey", "palette"
    file_bytes: int = 0
    raw_bytes: int = 0  # of the decoded pixels, three channels of 8 bits
    icc: str | None = None  # what the embedded colour profile calls itself; None when there is none

    @property
    def compression_ratio(self) -> float | None:
        """Raw / file size; None when nothing was lost, or nothing is known of the file."""
        return self.raw_bytes / self.file_bytes if self.lossy and self.file_bytes else None

    @property
    def departures(self) -> tuple[str, ...]:
        """In what the file is not a 24-bit sRGB picture."""
        told = []
        if self.bits != 8:
            told.append(f"{self.bits} bits per channel, judged at 8")
        if self.colour != "rgb":
            told.append({"grey": "greyscale picture", "palette": "picture with a colour palette"}[self.colour])
        if self.icc is not None and not is_srgb(self.icc):
            told.append(f"colour profile {reported(self.icc)}, judged as sRGB")
        return tuple(told)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the source."""
        told = [f"source {self.format}" + (", lossy" if self.lossy else ", lossless")]
        if self.exif_orientation != 1:
            told.append(f"turned as the file's EXIF orientation {self.exif_orientation} says")
        return (*told, *self.departures)


def check_pixels(image: NDArray[Any]) -> None:
    """Raises NotJudgeableError for anything but (H, W, 3) uint8 with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        shape = " x ".join(str(side) for side in image.shape)
        raise NotJudgeableError(f"The pixels are {image.dtype}, {shape}; judged are colour pictures of 8 bits.")


def read_image(source: Path | str | bytes) -> tuple[NDArray[np.uint8], ImageFacts]:
    """The upright BGR pixels and facts of a file or of a file's bytes."""
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    if len(data) > MAX_FILE_BYTES:
        raise ImageTooLargeError(f"The file has {len(data) / 1e6:.0f} MB, the checker takes up to 100 MB.")
    header = read_header(data)
    _refuse(header)
    # What a decoder finds wrong is told by the error below, not by OpenCV's own log on standard error.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageUnreadableError(f"The {header.format} file is damaged; save or send it again.") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None:
        raise ImageUnreadableError(f"The {header.format} file is damaged; save or send it again.")
    if pixels.shape[1::-1] != (header.width, header.height):
        raise ImageUnreadableError(f"The {header.format} file contradicts its own header; save it again.")
    facts = ImageFacts(
        format=header.format,
        lossy=header.lossy,
        exif_orientation=header.orientation,
        bits=header.bits,
        colour=header.colour,
        file_bytes=len(data),
        raw_bytes=pixels.size,
        icc=header.icc,
    )
    return _upright(np.asarray(pixels, dtype=np.uint8), header.orientation), facts


def _read_file(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ImageUnreadableError("There is no such file.") from error
    except (OSError, ValueError) as error:
        raise ImageUnreadableError("The file cannot be opened; check its name and permissions.") from error
    try:
        facts = os.fstat(descriptor)
        if stat.S_ISDIR(facts.st_mode):
            raise ImageUnreadableError("This is a folder; name the photos in it.")
        if not stat.S_ISREG(facts.st_mode):
            raise ImageUnreadableError("This is not a regular file; copy the photo to a file first.")
        if facts.st_size > MAX_FILE_BYTES:
            raise ImageTooLargeError(f"The file has {facts.st_size / 1e6:.0f} MB, the checker takes up to 100 MB.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageUnreadableError("The file cannot be read to its end.") from error
    finally:
        os.close(descriptor)


def _refuse(header: Header) -> None:
    if header.frames > 1:
        raise NotJudgeableError(f"This {header.format} is an animation; give one still picture.")
    if header.width * header.height > MAX_PIXELS:
        raise ImageTooLargeError(
            f"The picture has {header.width} x {header.height} pixels, the checker takes up to 64 million."
        )
    if min(header.width, header.height) < MIN_SIDE_PX:
        raise NotJudgeableError(
            f"The picture has {header.width} x {header.height} pixels; no face can be judged below "
            f"{MIN_SIDE_PX} x {MIN_SIDE_PX}."
        )
    if header.colour == "cmyk":
        raise NotJudgeableError("The picture is in print colours (CMYK); save it as an RGB picture (sRGB).")


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    rotation, flip = _TURNS[orientation]
    if rotation is not None:
        pixels = np.asarray(cv2.rotate(pixels, rotation), dtype=np.uint8)
    if flip is not None:
        pixels = np.asarray(cv2.flip(pixels, flip), dtype=np.uint8)
    return pixels
