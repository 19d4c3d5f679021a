"""The errors of the hand-over, told to producers, at the desk and on a terminal; server/errors.py has the root and the rules.

RequestError     ProducerUnknownError, OrderUnknownError, OrderGoneError, AnswerRefusedError, OrderAnsweredError, OrderResentError,
                 OrderCursorError
DeskError        AcceptRefusedError
ServerError      HandOverUnavailableError
"""

from __future__ import annotations

from server.errors import DeskError, RequestError, ServerError


class ProducerUnknownError(RequestError):
    """Who signed the request is no producer of this intake, or none any more."""

    code = "producer.unknown"
    status = 403
    title = "This intake hands nothing over to whoever signed the request"


class OrderUnknownError(RequestError):
    """There is no such order for this producer."""

    code = "order.unknown"
    status = 404
    title = "There is no such order for this producer"


class OrderGoneError(RequestError):
    """The packet of the order was deleted, and every message made of it."""

    code = "order.gone"
    status = 410
    title = "The packet of this order was deleted"


class AnswerRefusedError(RequestError):
    """The answer is not signed by the producer, or names another order or message."""

    code = "order.answer"
    status = 422
    title = "The answer cannot be taken"


class OrderAnsweredError(RequestError):
    """The order was answered in another way, and an answer is never taken back."""

    code = "order.answered"
    status = 409
    title = "The order has another answer already"


class OrderResentError(RequestError):
    """The order was sent anew too often: a person must find out why."""

    code = "order.resent"
    status = 409
    title = "The order was sent anew too often"


class OrderCursorError(RequestError):
    """There is no such cursor yet: the intake's database is older than the producer's knowledge of it."""

    code = "order.cursor"
    status = 409
    title = "This cursor was not given yet"


class AcceptRefusedError(DeskError):
    """The packet cannot be accepted as asked: no such producer, or no message has room for it."""

    code = "packet.not_accepted"
    status = 409
    title = "The packet cannot be accepted"


class HandOverUnavailableError(ServerError):
    """The desk has no key for decisions or knows no producer, or its key does not sign just now."""

    code = "handover.unavailable"
    blame = "operator"
    status = 503
    retry = True
    title = "The desk cannot hand over now"
