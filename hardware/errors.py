"""What can go wrong with a device.

HardwareError
├── SettingsError              a setting that no device could obey (wrong URL, unknown channel); told before anything is opened
├── LinkError                  the serial port itself; never leaves this package, the drivers translate it
│   ├── LinkMissingError       nothing at that path
│   ├── LinkBusyError          another program holds the port, or it may not be opened
│   ├── LinkLostError          the port was there and is gone (unplugged, driver error)
│   ├── LinkSilentError        no answer in time
│   └── LinkGarbledError       bytes came, but no answer that could be read
├── LightsError                lamps
│   ├── LightsLostError        not connected, or lost during the call
│   ├── LightsTimeoutError     connected, no answer in time
│   ├── LightsAnswerError      answers, but nothing that could be read
│   ├── LightsRefusedError     the device says another level than the one asked for
│   └── LightsLevelError       our mistake: unknown channel, level outside 0..100
├── CameraError                pictures
│   ├── CameraLostError        not connected, or lost during the call
│   ├── CameraTimeoutError     no new picture in time
│   ├── CameraPictureError     a picture that cannot be used (damaged, wrong type, too large)
│   └── CameraStillError       the camera gives no full-resolution picture
├── ControlError               the camera's own control
│   ├── ControlLostError       not connected, or lost during the call
│   ├── ControlTimeoutError    connected, no answer or no completion in time
│   ├── ControlAnswerError     answers, but nothing that could be read
│   ├── ControlRefusedError    the camera refused a setting, or reads back another value
│   ├── ControlSyntaxError     the camera does not know the command
│   └── ControlValueError      our mistake: a value outside the model's table
└── LiftError                  the height axis
    ├── LiftLostError          not connected, or lost during the call
    ├── LiftTimeoutError       connected, no answer in time
    ├── LiftAnswerError        answers, but nothing that could be read
    ├── LiftRefusedError       it refused, or reads back another position
    ├── LiftObstructedError    it met an obstacle and stopped
    ├── LiftFaultError         it tells a fault of its own
    ├── LiftStalledError       it is on and does not move
    └── LiftRangeError         our mistake: a position outside its limits

`blame`: us = a defect of this program, device = the apparatus or its cable, peer = another computer, operator = a setting or the installation.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Blame = Literal["us", "device", "peer", "operator"]


class HardwareError(Exception):
    """Root of this package; never raised itself."""

    code: ClassVar[str] = "hardware"
    blame: ClassVar[Blame] = "device"
    retry: ClassVar[bool] = False
    # Whether the connection is worth nothing after it: the device counts as lost until it has been connected anew.
    ends_link: ClassVar[bool] = False


class SettingsError(HardwareError):
    """A setting that no device could obey."""

    code = "hardware.settings"
    blame = "operator"


class LinkError(HardwareError):
    """Root of what a serial port can do wrong."""

    code = "link"
    retry = True
    ends_link = True


class LinkMissingError(LinkError):
    """Nothing at that path."""

    code = "link.missing"


class LinkBusyError(LinkError):
    """The port exists but may not be opened."""

    code = "link.busy"
    blame = "operator"


class LinkLostError(LinkError):
    """The port was there and is gone."""

    code = "link.lost"


class LinkSilentError(LinkError):
    """No answer in time."""

    code = "link.silent"


class LinkGarbledError(LinkError):
    """Bytes came, but no answer that could be read."""

    code = "link.garbled"


class LightsError(HardwareError):
    """Root of what lamps can do wrong."""

    code = "lights"


class LightsLostError(LightsError):
    """The lamp controller is not connected, or was lost during the call."""

    code = "lights.lost"
    retry = True


class LightsTimeoutError(LightsError):
    """The lamp controller does not answer."""

    code = "lights.timeout"
    retry = True


class LightsAnswerError(LightsError):
    """The lamp controller answers something that cannot be read."""

    code = "lights.answer"
    retry = True


class LightsRefusedError(LightsError):
    """The lamp controller says another level than the one asked for."""

    code = "lights.refused"
    ends_link = True


class LightsLevelError(LightsError):
    """An unknown channel, or a level outside 0..100."""

    code = "lights.level"
    blame = "us"


class CameraError(HardwareError):
    """Root of what a camera can do wrong."""

    code = "camera"


class CameraLostError(CameraError):
    """The camera is not connected, or was lost during the call."""

    code = "camera.lost"
    retry = True


class CameraTimeoutError(CameraError):
    """No new picture in time."""

    code = "camera.timeout"
    retry = True


class CameraPictureError(CameraError):
    """A picture that cannot be used: damaged, of a wrong type, too large."""

    code = "camera.picture"
    retry = True


class CameraStillError(CameraError):
    """The camera gives no full-resolution picture."""

    code = "camera.still"
    retry = True


class ControlError(HardwareError):
    """Root of what camera control can do wrong."""

    code = "control"


class ControlLostError(ControlError):
    """The control line is not connected, or was lost during the call."""

    code = "control.lost"
    retry = True


class ControlTimeoutError(ControlError):
    """No answer or no completion in time."""

    code = "control.timeout"
    retry = True


class ControlAnswerError(ControlError):
    """The camera answers something that cannot be read."""

    code = "control.answer"
    retry = True


class ControlRefusedError(ControlError):
    """The camera refused a setting, or reads back another value."""

    code = "control.refused"


class ControlSyntaxError(ControlError):
    """The camera does not know the command."""

    code = "control.syntax"
    blame = "operator"


class ControlValueError(ControlError):
    """A value outside the model's table."""

    code = "control.value"
    blame = "us"


class LiftError(HardwareError):
    """Root of what the height axis can do wrong."""

    code = "lift"


class LiftLostError(LiftError):
    """The axis is not connected, or was lost during the call."""

    code = "lift.lost"
    retry = True


class LiftTimeoutError(LiftError):
    """The axis does not answer."""

    code = "lift.timeout"
    retry = True


class LiftAnswerError(LiftError):
    """The axis answers something that cannot be read."""

    code = "lift.answer"
    retry = True


class LiftRefusedError(LiftError):
    """The axis refused, or reads back another position."""

    code = "lift.refused"


class LiftObstructedError(LiftError):
    """The axis met an obstacle and stopped."""

    code = "lift.obstructed"


class LiftFaultError(LiftError):
    """The axis tells a fault of its own."""

    code = "lift.fault"


class LiftStalledError(LiftError):
    """The axis is on and does not move."""

    code = "lift.stalled"


class LiftRangeError(LiftError):
    """A position outside its limits."""

    code = "lift.range"
    blame = "us"
