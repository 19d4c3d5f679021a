"""Errors of the checker. A photo that breaks a rule is data (a Report), never one of these.

One root; leaves say what, where and what to do in one sentence, and carry a stable code, whose fault it is, and whether a retry helps.
"""

from __future__ import annotations

from typing import ClassVar, Literal


class ValidationError(Exception):
    """Root of everything the checker raises."""

    code: ClassVar[str] = "validation"
    blame: ClassVar[Literal["us", "device", "peer", "operator"]] = "us"
    retry: ClassVar[bool] = False


class ImageUnreadableError(ValidationError):
    """The file is not a picture, is damaged, or cannot be opened."""

    code = "image.unreadable"
    blame = "operator"


class ImageTooLargeError(ValidationError):
    """The file or its decoded picture is larger than the checker takes."""

    code = "image.too_large"
    blame = "operator"


class NotJudgeableError(ValidationError):
    """The file is a picture, but not one still portrait in colours that can be judged."""

    code = "image.not_judgeable"
    blame = "operator"


class ProfileUnknownError(ValidationError):
    """No profile of that name is installed."""

    code = "profile.unknown"
    blame = "operator"


class ProfileInvalidError(ValidationError):
    """A profile file does not say what a profile must say."""

    code = "profile.invalid"
    blame = "operator"


class ModelFailedError(ValidationError):
    """The face model did not start or did not answer."""

    code = "model.failed"
    blame = "us"
    retry = True
