"""Whether a camera that delivers pictures delivers good ones (pure): live, black, frozen, of another size, too few.

The gravest is told: black before frozen before another size before too few. Frozen: the same content for `FROZEN_NS`. Another size than set (or, where
none is set, than the camera's first). Too few: below `SLOW_SHARE` of the rate that is set (or, where none is set, of the best rate held over two windows) for
`SLOW_NS`; over again from `FAST_SHARE` on. Which pictures may be used nevertheless is for the users of the camera to decide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

from hardware.camera_source import Shot

FROZEN_NS = 2_000_000_000
SLOW_NS = 1_500_000_000
SLOW_SHARE, FAST_SHARE = 0.6, 0.75
# Mean of all channels: a sensor in the dark shows noise around 1..2, the darkest booth is far above.
BLACK_LEVEL = 3.0
# The rate is taken over this many pictures.
WINDOW = 16
LIVE = "delivers pictures"


class PictureState:
    """What is known of the pictures; fed with each of them."""

    def __init__(self, size: tuple[int, int] | None, fps: float | None) -> None:
        self._size = size
        self._fps = fps
        self._arrivals: deque[int] = deque(maxlen=WINDOW)
        self._digest, self._digest_since_ns = 0, 0
        self._slow_since_ns: int | None = None
        self._best_fps = self._window_fps = 0.0
        self._in_window = 0
        self.kind = "live"

    @property
    def rate(self) -> float:
        """Pictures per second, lately."""
        arrivals = self._arrivals
        return round((len(arrivals) - 1) * 1e9 / (arrivals[-1] - arrivals[0]), 1) if len(arrivals) > 1 else 0.0

    def interrupted(self) -> None:
        """The camera was lost: the rate begins anew."""
        self._arrivals.clear()
        self._in_window, self._window_fps = 0, 0.0
        self._slow_since_ns = None

    def note(self, shot: Shot) -> None:
        """One more picture, and when others came that nobody decoded."""
        self._arrivals.extend((*shot.passed_ns, shot.at_ns))
        if shot.digest != self._digest:
            self._digest, self._digest_since_ns = shot.digest, shot.at_ns
        self._in_window += 1 + len(shot.passed_ns)
        if self._in_window >= WINDOW:
            # The lower of two windows: pictures that waited somewhere and came in a burst are no frame rate.
            self._best_fps = max(self._best_fps, min(self._window_fps, self.rate))
            self._in_window, self._window_fps = 0, self.rate
        if len(self._arrivals) < WINDOW // 2:
            return
        usual = self._fps or self._best_fps
        if self.rate < usual * SLOW_SHARE:
            self._slow_since_ns = self._slow_since_ns or shot.at_ns
        elif self.rate >= usual * FAST_SHARE:
            self._slow_since_ns = None

    def judge(self, shot: Shot) -> tuple[str, str]:
        """What the newest picture shows: the kind, and words with the remedy."""
        height, width = shot.pixels.shape[:2]
        self._size = size = self._size or (width, height)
        self.kind, detail = "live", LIVE
        if shot.pixels[::8, ::8].mean() < BLACK_LEVEL:
            self.kind, detail = "black", "the picture is black: check the lens cap, the exposure and the lamps"
        elif shot.at_ns - self._digest_since_ns > FROZEN_NS:
            self.kind, detail = "frozen", "the picture is frozen: switch the camera off and on"
        elif size != (width, height):
            self.kind = "resized"
            detail = f"the picture has {width}x{height} instead of {size[0]}x{size[1]}: set the size in the camera or in the settings"
        elif self._slow_since_ns is not None and shot.at_ns - self._slow_since_ns > SLOW_NS:
            self.kind = "slow"
            detail = (
                f"only {self.rate:.0f} of {self._fps or self._best_fps:.0f} pictures per second: "
                "check the camera's frame rate and exposure time, the network, and what else runs here"
            )
        return self.kind, detail

    def info(self, shot: Shot) -> Mapping[str, str]:
        """For the device's status."""
        height, width = shot.pixels.shape[:2]
        told = {
            "size": f"{width}x{height}",
            "format": shot.source_format,
            "fps": f"{self.rate:g}",
            "picture": self.kind,
        }
        return MappingProxyType(told)
