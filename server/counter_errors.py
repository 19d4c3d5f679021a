"""The errors of the counter; server/errors.py has the root and the rules.

DeskError        SlipOverError, SlipUnavailableError, NumbersTakenError
"""

from __future__ import annotations

from server.errors import DeskError


class SlipOverError(DeskError):
    """The application's last day has passed: a slip would never count."""

    code = "slip.over"
    status = 409
    title = "The application's last day has passed"


class SlipUnavailableError(DeskError):
    """The desk has no key of the centre, or the key cannot be used just now."""

    code = "slip.unavailable"
    blame = "operator"
    status = 503
    retry = True
    title = "No slip can be signed for this centre"


class NumbersTakenError(DeskError):
    """The centre's rule made only numbers that are taken: it has too few."""

    code = "counter.numbers"
    blame = "operator"
    status = 503
    title = "The rule for numbers has none left"
