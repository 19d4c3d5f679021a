"""The errors of orders for booths, told to booths, at the desk and on a terminal; server/errors.py has the root and the rules.

RequestError     BoothOrderUnknownError, BoothOrderAnswerRefusedError, BoothOrderAnsweredError
DeskError        BoothOrderRefusedError, BundleUnavailableError, BoothOrdersUnavailableError
"""

from __future__ import annotations

from server.errors import DeskError, RequestError


class BoothOrderUnknownError(RequestError):
    """There is no such order for this booth, or it was taken back."""

    code = "booth_order.unknown"
    status = 404
    title = "There is no such order for this booth"


class BoothOrderAnswerRefusedError(RequestError):
    """The answer or the bundle is not this booth's for this order."""

    code = "booth_order.answer"
    status = 422
    title = "The answer cannot be taken"


class BoothOrderAnsweredError(RequestError):
    """The order was answered in another way, and an answer is never taken back."""

    code = "booth_order.answered"
    status = 409
    title = "The order is answered already"


class BoothOrderRefusedError(DeskError):
    """An order that cannot be given, or not be taken back."""

    code = "booth_order.refused"
    blame = "operator"
    status = 409
    title = "The order cannot be given"


class BundleUnavailableError(DeskError):
    """There is no bundle of this order, or it does not open."""

    code = "booth_order.bundle"
    blame = "peer"
    status = 404
    title = "There is no bundle that can be opened"


class BoothOrdersUnavailableError(DeskError):
    """A desk without a key to sign orders with."""

    code = "booth_order.unavailable"
    blame = "operator"
    status = 503
    title = "This desk gives no orders"
