"""Why there is no second opinion of a portrait; server/errors.py has the root and the rules.

DeskError     RecheckNothingError, RecheckProfileError, RecheckForeignProfileError, RecheckPictureError   the packet gives nothing to judge
              RecheckEndedError, RecheckTimeoutError                          the checker did not survive the picture
              RecheckUnavailableError, RecheckBusyError                       the desk cannot judge now
"""

from __future__ import annotations

from server.errors import DeskError


class RecheckNothingError(DeskError):
    """The packet holds no portrait, or no report to hold a second one against."""

    code = "recheck.nothing"
    blame = "peer"
    status = 404
    title = "There is no portrait with a report to judge again"


class RecheckProfileError(DeskError):
    """The report names a profile that this desk does not have."""

    code = "recheck.profile"
    blame = "peer"
    status = 422
    title = "The report names a profile that this desk does not have"


class RecheckForeignProfileError(DeskError):
    """The report names a profile that booths of this office do not judge by."""

    code = "recheck.foreign_profile"
    blame = "peer"
    status = 422
    title = "The report names a profile that is none of this office's"


class RecheckPictureError(DeskError):
    """The portrait is no picture that can be judged."""

    code = "recheck.picture"
    blame = "peer"
    status = 422
    title = "The portrait cannot be read as a picture"


class RecheckEndedError(DeskError):
    """The checker ended while it judged this portrait."""

    code = "recheck.ended"
    blame = "peer"
    status = 422
    title = "The checker ended while it judged this portrait"


class RecheckTimeoutError(DeskError):
    """The checker took longer over this portrait than any picture takes."""

    code = "recheck.timeout"
    blame = "peer"
    status = 422
    title = "The checker took too long over this portrait and was ended"


class RecheckUnavailableError(DeskError):
    """The checker does not start: its libraries are missing, or memory is."""

    code = "recheck.unavailable"
    status = 503
    retry = True
    title = "The checker does not start at this desk"


class RecheckBusyError(DeskError):
    """More portraits wait for a second opinion than this desk lets wait."""

    code = "recheck.busy"
    status = 503
    retry = True
    title = "Too many portraits wait for a second opinion"
