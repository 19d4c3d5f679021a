"""The desk's checker: a program that judges one portrait and ends. Started by server/rechecker.py alone; the desk itself never decodes a picture.

Order: numbers and Landlock (server/confinement.py) -> the models -> "ready" -> one question from standard input -> the report and what the chip image shows -> end.
Whatever a hostile picture does, it does here: in a process without files to write, network, keys or environment, for one packet, with bounded memory and time. It ends after each
packet, so nothing of one person is in memory when the next one is judged, and a picture that takes it over falsifies no other packet's answer.

The portrait is judged as `booth check` judges a file, by the profile that the booth names; what only the booth could see (frames before the photo, the cut from the
camera's picture) is not taken from the booth's word. The chip image is decoded and held against the portrait: it must show the same picture.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from server.confinement import confine, limit_process
from server.recheck_wire import ASKED, JPEG, JPEG_2000, MOST_PICTURE_BYTES, MOST_PIXELS, MOST_WORDS_BYTES, told

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from validation.face import FaceModel

# Measured on two cores: 1.4 GB of addresses at most while 24 million pixels are judged, 0.27 GB of memory; a core more brings stacks and heaps for its threads.
MEMORY_BYTES, MEMORY_PER_CORE_BYTES = 2 * 1024**3, 64 * 1024**2
OPEN_FILES = 128
# Each scan of a JPEG goes through the whole picture again: 140 kB with three thousand of them keep a decoder busy for minutes. Encoders make about ten, booths one.
SCAN, MOST_SCANS = b"\xff\xda", 64
# What libraries read when they start: code, data, and what the machine is.
PLACES = (
    *("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache"),
    *("/etc/localtime", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu"),
    *("/dev/null", "/dev/urandom"),
)
# So small that noise, sharpness and the encoder's loss do not count, and another face still does (`python -m tests.bench.recheck_spread`).
COMPARED_WIDTH_PX = 48
# Wang et al. 2004, 3: a Gaussian of 1.5 pixels in a window of 11, K1 and K2 of 0.01 and 0.03 of the range.
SSIM_SIGMA, SSIM_WINDOW, SSIM_C1, SSIM_C2 = 1.5, (11, 11), (0.01 * 255) ** 2, (0.03 * 255) ** 2


def main() -> int:
    """Judges one portrait; 0 when an answer was given."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        import validation  # noqa: F401 (found now: afterwards the folder that it lies in cannot be listed)

        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")  # the first to go when memory ends, not the desk
        limit_process(MEMORY_BYTES + MEMORY_PER_CORE_BYTES * (os.cpu_count() or 1), OPEN_FILES)
        confined = confine(_readable())
        from validation.face import FaceModel

        with FaceModel() as model:
            _tell(pipe, {"ready": True, "confined": confined})
            question = _question(sys.stdin.buffer)
            if question is not None:
                _tell(pipe, _answer(model, *question))
    except (ImportError, OSError, ValueError, MemoryError) as error:
        _tell(pipe, {"error": "recheck.unavailable", "why": type(error).__name__})
        return 1
    return 0


def _readable() -> list[Path]:
    """Code and models; no folder of keys or packets lies beneath them."""
    here = Path(__file__).resolve().parent
    packages = [here, here.parent / "validation", here.parent / "crypto"]
    return [*map(Path, {sys.prefix, sys.base_prefix, *PLACES}), *packages]


def _tell(pipe: BinaryIO, answer: dict[str, Any]) -> None:
    pipe.write(told(answer))
    pipe.flush()


def _question(pipe: BinaryIO) -> tuple[dict[str, Any], bytes, bytes] | None:
    """What is asked; None when the desk ends without a question."""
    import json

    head = pipe.read(ASKED.size)
    if len(head) < ASKED.size:
        return None
    words, portrait, chip = ASKED.unpack(head)
    if words > MOST_WORDS_BYTES or max(portrait, chip) > MOST_PICTURE_BYTES:
        raise ValueError("a question that the desk does not ask")
    text, first, second = pipe.read(words), pipe.read(portrait), pipe.read(chip)
    if len(second) != chip:
        return None
    return json.loads(text), first, second


def _answer(model: FaceModel, words: dict[str, Any], portrait: bytes, chip: bytes) -> dict[str, Any]:
    """The second opinion; what goes wrong from here on, with libraries and models there, comes of the picture."""
    try:
        answer = second_opinion(model, words, portrait, chip)
        told(answer)  # a number that JSON does not have
    except (ImportError, OSError, ValueError, MemoryError) as error:
        return {"error": "recheck.picture", "why": type(error).__name__}
    return answer


def second_opinion(model: FaceModel, words: dict[str, Any], portrait: bytes, chip: bytes) -> dict[str, Any]:
    """The report on a portrait and what the chip image shows, or why there is none."""
    from validation.check import check
    from validation.errors import ImageTooLargeError, ImageUnreadableError, ValidationError
    from validation.image import read_image
    from validation.image_header import read_header
    from validation.profile import load_profile, profile_names

    if words["profile"] not in profile_names():
        return {"error": "recheck.profile"}
    profile = load_profile(words["profile"])
    try:
        header = read_header(portrait)
        if header.format != words["format"]:
            raise ImageUnreadableError("another kind of file than its name says")
        if header.format == JPEG and portrait.count(SCAN) > MOST_SCANS:
            raise ImageTooLargeError("more scans than any encoder makes")
        if header.width * header.height > MOST_PIXELS:
            raise ImageTooLargeError("more pixels than any camera of a booth has")
        pixels, facts = read_image(portrait)
        report = check(pixels, profile, model, judged=words["judged"], source=facts)
    except (ValidationError, MemoryError) as error:
        return {"error": "recheck.picture", "why": getattr(error, "code", "memory")}
    return {
        "report": report.model_dump(mode="json", exclude={"findings": {"__all__": {"evidence"}}}),
        "chip": _chip(pixels, chip) if chip else None,
    }


def _chip(portrait: NDArray[np.uint8], chip: bytes) -> dict[str, Any]:
    """How much of the chip image is the portrait."""
    from validation.errors import ValidationError
    from validation.image import read_image
    from validation.image_header import read_header

    try:
        header = read_header(chip)
        if header.format != JPEG_2000:
            return {"error": "image.unreadable"}
        if header.width * header.height > MOST_PIXELS:
            return {"error": "image.too_large"}
        pixels, _ = read_image(chip)
        height, width = pixels.shape[:2]
        return {"width": width, "height": height, "ssim": round(likeness(portrait, pixels), 4)}
    except (ValidationError, MemoryError) as error:
        return {"error": getattr(error, "code", "memory")}


def likeness(portrait: Any, chip: Any) -> float:
    """Whether both show one picture: SSIM of the two at a small size; 1 for the same."""
    import cv2

    height, width = chip.shape[:2]
    size = COMPARED_WIDTH_PX, max(round(COMPARED_WIDTH_PX * height / width), SSIM_WINDOW[1])
    return ssim(*(cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (portrait, chip)))


def ssim(first: Any, second: Any) -> float:
    """Structural similarity of two pictures of one size, on grey; 1 for the same."""
    import cv2
    import numpy as np

    def smooth(values: Any) -> Any:
        return cv2.GaussianBlur(values, SSIM_WINDOW, SSIM_SIGMA)

    one, two = (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float64) for picture in (first, second))
    mean_one, mean_two = smooth(one), smooth(two)
    spread_one, spread_two = smooth(one * one) - mean_one**2, smooth(two * two) - mean_two**2
    both = smooth(one * two) - mean_one * mean_two
    alike = (2 * mean_one * mean_two + SSIM_C1) * (2 * both + SSIM_C2)
    return float(np.mean(alike / ((mean_one**2 + mean_two**2 + SSIM_C1) * (spread_one + spread_two + SSIM_C2))))


if __name__ == "__main__":
    sys.exit(main())
