"""PURE: V4L2 controls in the units of the control seam, both ways. hardware: untested.

Units, by the V4L2 specification: exposure_absolute is 100 microseconds; white_balance_temperature is kelvin; tilt_absolute is seconds of arc;
exposure_auto 0 auto, 1 manual, 2 shutter priority, 3 aperture priority, and cameras without 0 (all UVC ones) use 3 as their automatic;
power_line_frequency 0 off, 1 50 Hz, 2 60 Hz, 3 auto. Iris is hundredths of the f-number with the UVC driver (UVC 1.5, 4.2.2.1.8), unknown with others. Zoom is told
relative to its shortest end where that is above 0 (an objective's focal length). Gain has no unit: it is told in decibels only where the settings say
how many one step is (`gain_db_per_step`). Red and blue balance are brought to 0..255 of their range. What a camera does not have is None, and asking for it is
refused with its name.
"""

from __future__ import annotations

from collections.abc import Mapping

from hardware.controls import CameraControlSettings, CameraControlState, ExposureMode, FocusMode, WhiteBalance
from hardware.errors import ControlRefusedError
from hardware.v4l2_device import ControlEntry

EXPOSURE_UNIT_US = 100
IRIS_PER_F_NUMBER = 100
ARC_SECONDS_PER_DEG = 3600
FULL_GAIN = 255
MODES = {ExposureMode.AUTO: 0, ExposureMode.MANUAL: 1, ExposureMode.SHUTTER: 2, ExposureMode.IRIS: 3}
POWER_LINE = {0: 0, 50: 1, 60: 2}

Entries = Mapping[str, ControlEntry]
Wanted = list[tuple[str, str, int]]  # setting, control, value


def state_of(entries: Entries, *, driver: str = "", gain_db_per_step: float | None = None) -> CameraControlState:
    """What the controls say, in the units of the seam."""

    def value(name: str) -> int | None:
        entry = entries.get(name)
        return None if entry is None else entry.value

    exposure, iris, tilt = value("exposure_absolute"), value("iris_absolute"), value("tilt_absolute")
    gain, backlight, power_line = value("gain"), value("backlight_compensation"), value("power_line_frequency")
    zoom, shortest = value("zoom_absolute"), entries["zoom_absolute"].minimum if "zoom_absolute" in entries else 0
    auto_white, auto_focus = value("auto_white_balance"), value("focus_auto")
    return CameraControlState(
        powered=True,
        exposure_mode=_exposure_mode(entries),
        exposure_us=None if exposure is None else exposure * EXPOSURE_UNIT_US,
        f_number=None if iris is None or driver != "uvcvideo" else iris / IRIS_PER_F_NUMBER,
        gain_db=None
        if gain is None or gain_db_per_step is None
        else (gain - entries["gain"].minimum) * gain_db_per_step,
        backlight=None if backlight is None else backlight > 0,
        white_balance=None if auto_white is None else WhiteBalance.AUTO if auto_white else WhiteBalance.MANUAL,
        red_gain=_share(entries.get("red_balance")),
        blue_gain=_share(entries.get("blue_balance")),
        white_kelvin=value("white_balance_temperature"),
        focus_mode=None if auto_focus is None else FocusMode.AUTO if auto_focus else FocusMode.MANUAL,
        focus_position=value("focus_absolute"),
        zoom_ratio=None if zoom is None or shortest <= 0 else zoom / shortest,
        tilt_deg=None if tilt is None else tilt / ARC_SECONDS_PER_DEG,
        power_line_hz=next((hz for hz, code in POWER_LINE.items() if code == power_line), None),
    )


def _exposure_mode(entries: Entries) -> ExposureMode | None:
    entry = entries.get("exposure_auto")
    if entry is None or entry.value is None:
        return None
    if entry.value == MODES[ExposureMode.IRIS] and MODES[ExposureMode.AUTO] not in entry.menu:
        return ExposureMode.AUTO
    return next((mode for mode, code in MODES.items() if code == entry.value), None)


def _share(entry: ControlEntry | None) -> int | None:
    if entry is None or entry.value is None or entry.maximum <= entry.minimum:
        return None
    return round((entry.value - entry.minimum) / (entry.maximum - entry.minimum) * FULL_GAIN)


def modes_of(settings: CameraControlSettings, entries: Entries) -> Wanted:
    """The modes to set, in the camera's words."""
    wanted: Wanted = []
    if settings.exposure_mode is not None:
        menu = entries["exposure_auto"].menu if "exposure_auto" in entries else {}
        code = MODES[settings.exposure_mode]
        if settings.exposure_mode is ExposureMode.AUTO and code not in menu:
            code = MODES[ExposureMode.IRIS]
        if menu and code not in menu:
            raise ControlRefusedError(f"The camera has no exposure mode {settings.exposure_mode}.")
        wanted.append(("exposure_mode", "exposure_auto", code))
        if settings.exposure_mode is ExposureMode.MANUAL and "exposure_auto_priority" in entries:
            # Else a dark picture lowers the frame rate.
            wanted.append(("exposure_mode", "exposure_auto_priority", 0))
    if settings.white_balance is not None:
        if settings.white_balance not in {WhiteBalance.AUTO, WhiteBalance.MANUAL, WhiteBalance.ONE_PUSH}:
            raise ControlRefusedError(f"V4L2 has no white balance {settings.white_balance}: use manual.")
        auto = settings.white_balance is WhiteBalance.AUTO
        wanted.append(("white_balance", "auto_white_balance", int(auto)))
    if settings.focus_mode is not None:
        wanted.append(("focus_mode", "focus_auto", int(settings.focus_mode is FocusMode.AUTO)))
    if settings.backlight is not None:
        wanted.append(("backlight", "backlight_compensation", int(settings.backlight)))
    if settings.power_line_hz is not None:
        wanted.append(("power_line_hz", "power_line_frequency", POWER_LINE[settings.power_line_hz]))
    return wanted


def values_of(
    settings: CameraControlSettings, entries: Entries, *, driver: str = "", gain_db_per_step: float | None = None
) -> Wanted:
    """The values to set, in the camera's units."""
    wanted: Wanted = []

    def add(setting: str, control: str, value: float | None) -> None:
        if value is not None:
            wanted.append((setting, control, round(value)))

    add("exposure_us", "exposure_absolute", _times(settings.exposure_us, 1 / EXPOSURE_UNIT_US))
    if settings.f_number is not None:
        if driver != "uvcvideo":
            raise ControlRefusedError("The camera's driver does not tell the unit of its iris: leave f_number out.")
        add("f_number", "iris_absolute", settings.f_number * IRIS_PER_F_NUMBER)
    if settings.gain_db is not None:
        if gain_db_per_step is None:
            raise ControlRefusedError(
                "V4L2 gain has no unit: set gain_db_per_step in [controls], or leave gain_db out."
            )
        add("gain_db", "gain", _lowest(entries, "gain") + settings.gain_db / gain_db_per_step)
    for setting, control, share in (
        ("red_gain", "red_balance", settings.red_gain),
        ("blue_gain", "blue_balance", settings.blue_gain),
    ):
        if share is not None:
            span = entries[control].maximum - entries[control].minimum if control in entries else 0
            add(setting, control, _lowest(entries, control) + share / FULL_GAIN * span)
    add("white_kelvin", "white_balance_temperature", settings.white_kelvin)
    add("zoom_ratio", "zoom_absolute", _times(settings.zoom_ratio, _lowest(entries, "zoom_absolute")))
    add("tilt_deg", "tilt_absolute", _times(settings.tilt_deg, ARC_SECONDS_PER_DEG))
    add("focus_position", "focus_absolute", settings.focus_position)
    return wanted


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _lowest(entries: Entries, name: str) -> int:
    return entries[name].minimum if name in entries else 0
