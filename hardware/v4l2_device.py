"""A V4L2 video device's controls and formats; the only file that imports linuxpy. Blocking, used by one thread. hardware: untested.

`VideoDevice` is the seam: what the driver (`v4l2_controls`) and `booth cameras` need of a device. `LinuxpyDevice` fills it through linuxpy's `Device`:
controls are asked for anew each time, because a mode changes which of them are active (V4L2, "User Controls": flag INACTIVE). Names are those of the
V4L2 control ids in small letters (V4L2_CID_EXPOSURE_ABSOLUTE is `exposure_absolute`). System errors pass as OSError; the driver translates them. What a camera
says and linuxpy has no word for (its numbers become enumerations) is an OSError, too: a strange camera is no reason for the booth not to start.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

__all__ = ["ControlEntry", "LinuxpyDevice", "VideoDevice", "VideoFormat", "VideoInfo", "find_cameras"]

BY_ID = Path("/dev/v4l/by-id")
NOT_A_VALUE = frozenset({"ButtonControl"})


@dataclass(frozen=True, slots=True)
class ControlEntry:
    """One control and its present value."""

    name: str
    minimum: int
    maximum: int
    step: int
    value: int | None  # None: a button, or it cannot be read
    writable: bool
    active: bool  # False: a mode has it in its hands
    menu: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """A picture format, its size, and how many pictures a second at most (0: the device does not tell)."""

    fourcc: str
    width: int
    height: int
    fps: float


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A camera of this machine."""

    path: str
    by_id: str | None  # the name that survives re-numbering
    name: str
    driver: str
    bus: str
    formats: tuple[VideoFormat, ...]
    controls: tuple[ControlEntry, ...]


class VideoDevice(Protocol):
    """An open video device."""

    def identity(self) -> Mapping[str, str]:
        """Its name, driver and bus."""

    def controls(self) -> Mapping[str, ControlEntry]:
        """Every control that it knows, asked for now. Raise `OSError`."""

    def set(self, name: str, value: int) -> None:
        """Set a control, or press a button. Raise `OSError` when the device refuses."""

    def close(self) -> None:
        """Let go of it; nothing to do is no error."""


def _linuxpy_device(path: str) -> Any:
    from linuxpy.video.device import Device  # type: ignore[import-untyped]

    return Device(path)


@contextmanager
def _understood() -> Iterator[None]:
    """Around what linuxpy makes of a camera's answers."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, UnicodeError) as error:
        raise OSError(errno.EPROTO, f"what the camera says is not understood: {error}") from error


class LinuxpyDevice:
    """An open device, through linuxpy."""

    def __init__(self, path: str, make: Callable[[str], Any] = _linuxpy_device) -> None:
        """Opens it; raises OSError. `make` gives linuxpy's device for a path."""
        with _understood():
            self._device = make(path)
            self._device.open()

    def identity(self) -> Mapping[str, str]:
        """See `VideoDevice`."""
        with _understood():
            info = self._device.info
            return {"name": _text(info.card), "driver": _text(info.driver), "bus": _text(info.bus_info)}

    def controls(self) -> Mapping[str, ControlEntry]:
        """See `VideoDevice`."""
        found = {}
        with _understood():
            self._device.controls.clear()
            self._device.controls.refresh()
            for control in self._device.controls.values():
                if control.standard is not None and not control.is_flagged_disabled:
                    entry = _entry(control)
                    found[entry.name] = entry
        return found

    def set(self, name: str, value: int) -> None:
        """See `VideoDevice`."""
        for control in self._device.controls.values():
            if control.standard is not None and control.standard.name.lower() == name:
                try:
                    if type(control).__name__ in NOT_A_VALUE:
                        control.push()
                    else:
                        control.value = value
                except AttributeError as error:  # linuxpy's word for a control that may not be written now
                    raise PermissionError(1, str(error)) from error
                return
        raise FileNotFoundError(2, f"no control {name}")

    def formats(self) -> tuple[VideoFormat, ...]:
        """Largest first. Raise `OSError`."""
        with _understood():
            found = {
                VideoFormat(_fourcc(int(each.pixel_format)), each.width, each.height, round(float(each.max_fps), 2))
                for each in self._device.info.frame_types
            }
        return tuple(sorted(found, key=lambda f: (-f.width * f.height, f.fourcc, -f.fps)))

    def close(self) -> None:
        """See `VideoDevice`."""
        self._device.close()


def _entry(control: Any) -> ControlEntry:
    button = type(control).__name__ in NOT_A_VALUE
    menu = getattr(control, "data", None)
    readable = not button and not control.is_flagged_write_only
    value = control.value if readable else None
    return ControlEntry(
        name=control.standard.name.lower(),
        minimum=int(control.minimum),
        maximum=int(control.maximum),
        step=max(int(control.step), 1),
        value=int(value) if isinstance(value, int) else None,
        writable=bool(control.is_writeable),
        active=not control.is_flagged_inactive,
        menu={int(key): str(text) for key, text in menu.items()} if isinstance(menu, Mapping) else {},
    )


def _fourcc(code: int) -> str:
    return code.to_bytes(4, "little").decode("ascii", "replace").strip()


def _text(value: object) -> str:
    """What a driver says of itself, without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in str(value))


def _capture_files() -> Iterable[Path]:
    from linuxpy.video.device import iter_video_capture_files

    return sorted(iter_video_capture_files())


def find_cameras(
    files: Callable[[], Iterable[Path]] = _capture_files,
    make: Callable[[str], Any] = _linuxpy_device,
    tell: Callable[[Path, OSError], None] = lambda _path, _error: None,
) -> tuple[VideoInfo, ...]:
    """Every camera of this machine that can be read, `tell` hears of the others; raises OSError when /dev cannot be looked through."""
    names = {link.resolve(): str(link) for link in BY_ID.iterdir()} if BY_ID.is_dir() else {}
    found = []
    for path in files():
        try:
            found.append(_look_at(path, names.get(path.resolve()), make))
        except OSError as error:
            tell(path, error)
    return tuple(found)


def _look_at(path: Path, by_id: str | None, make: Callable[[str], Any]) -> VideoInfo:
    device = LinuxpyDevice(str(path), make)
    try:
        who = device.identity()
        return VideoInfo(
            path=str(path),
            by_id=by_id,
            name=who["name"],
            driver=who["driver"],
            bus=who["bus"],
            formats=device.formats(),
            controls=tuple(device.controls().values()),
        )
    finally:
        device.close()
