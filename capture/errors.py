"""Errors of the capture room."""

from __future__ import annotations

from typing import ClassVar, Literal


class CaptureError(Exception):
    """Root of everything the capture room raises."""

    code: ClassVar[str] = "capture"
    blame: ClassVar[Literal["us", "device", "peer", "operator"]] = "us"
    retry: ClassVar[bool] = False


class UpscalingRefusedError(CaptureError):
    """The source has fewer pixels than the portrait asks for; pixels are never invented."""

    code = "capture.upscaling_refused"
    blame = "operator"


class EncodingFailedError(CaptureError):
    """The encoder did not deliver, or not at the asked size."""

    code = "capture.encoding_failed"
    blame = "us"


class ProfileUnsatisfiableError(CaptureError):
    """The camera's pictures are too small for the profile's portrait, wherever the face is."""

    code = "capture.profile_unsatisfiable"
    blame = "operator"


class StaleStillError(CaptureError):
    """A still is older than the settled light: it does not show what the lamps do now."""

    code = "capture.stale_still"
    blame = "device"
    retry = True


class LampsNotMeasurableError(CaptureError):
    """What a lamp does to the picture cannot be told: no lamps, a room whose light changes, a picture that is overexposed."""

    code = "capture.lamps_not_measurable"
    blame = "operator"
    retry = True


class CardNotReadableError(CaptureError):
    """The test card is not in the picture, or not so that it can be read."""

    code = "capture.card_not_readable"
    blame = "operator"
    retry = True


class WhiteNotNeutralError(CaptureError):
    """The camera's white balance cannot make the grey card grey."""

    code = "capture.white_not_neutral"
    blame = "operator"
    retry = True
