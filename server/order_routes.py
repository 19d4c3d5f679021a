"""Orders for producers: what lies ready, its bytes, the answer, and the wish to get it anew. Sealed messages alone: nothing here can be read without his key.

Every request is signed by the producer (server/producers.py) and counts once. A producer sees his own orders; another's is to him as if there were none.
An answer is signed twice: as a request, and by itself, because it is kept as the producer's word.

    GET  /v1/orders?after=&limit=     his orders behind a cursor, oldest first
    GET  /v1/orders/{order}           the sealed message
    POST /v1/orders/{order}/answer    his word on it
    POST /v1/orders/{order}/resend    it cannot be used: seal it anew
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from crypto.errors import HandOverError, RequestSignatureError
from crypto.handover import ANSWER_TYPE, MAX_ANSWER_BYTES, verify_answer
from crypto.http_signature import check_content
from crypto.package import write_instant
from crypto.seal import MEDIA_TYPE
from server.errors import DigestMismatchError, MalformedRequestError
from server.handover_errors import AnswerRefusedError
from server.handover_rows import Order
from server.objects import ObjectStore
from server.orders import Orders
from server.producers import ProducerRequests
from server.receiving import Places, read_small_body

MOST_LISTED = 200
ANSWER_S = 20.0
# Messages in memory at once: 20 MB at most, each.
AT_ONCE, RETRY_AFTER_S = 4, 2
ORDER = re.compile(r"[0-9a-f]{32}")
PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_TEXT, _TIME = {"type": "string"}, {"type": "string", "format": "date-time"}
_ID, _SHA256 = {"type": "string", "pattern": "^[0-9a-f]{32}$"}, {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_ANSWER = {
    "type": "object",
    "properties": {
        "verdict": {"type": "string", "enum": ["accepted", "rejected"]},
        "code": {"type": ["string", "null"]},
        "answered_at": _TIME,
    },
    "required": ["verdict", "code", "answered_at"],
}
_ORDER = {
    "type": "object",
    "properties": {
        "cursor": {"type": "integer"},
        "order": _ID,
        "message_sha256": _SHA256,
        "size": {"type": "integer"},
        "created_at": _TIME,
        "answer_by": _TIME,
        "resend_of": {"type": ["string", "null"]},
        "superseded": {"type": "boolean"},
        "answer": {"anyOf": [_ANSWER, {"type": "null"}]},
        "note": {**_TEXT, "contentEncoding": "base64"},
    },
    "required": ["cursor", "order", "message_sha256", "size", "created_at", "answer_by", "note"],
}
_LIST = {
    "type": "object",
    "properties": {"orders": {"type": "array", "items": _ORDER}, "cursor": {"type": "integer"}},
    "required": ["orders", "cursor"],
}


@dataclass(frozen=True)
class OrderDesk:
    """What the routes work with."""

    orders: Orders
    messages: ObjectStore
    producers: ProducerRequests


def make_order_routes(desk: OrderDesk) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1/orders")
    places = Places(AT_ONCE, RETRY_AFTER_S)

    async def find(order: str, producer: str) -> Order:
        if not ORDER.fullmatch(order):
            raise MalformedRequestError("An order is addressed by 32 lower-case hex digits.")
        return await desk.orders.find(order, producer)

    @api.get("", response_class=Response, responses=_answers(_LIST, "His orders behind the cursor, oldest first."))
    async def list_orders(
        request: Request,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    ) -> Response:
        """List a producer's orders behind a cursor; go on with the cursor of the answer."""
        producer, _ = await desk.producers.verify(request)
        found = await desk.orders.after(producer, after, limit)
        told = {"orders": [_told(order) for order in found], "cursor": found[-1].cursor if found else after}
        return JSONResponse(told, headers=PRIVATE)

    @api.get(
        "/{order}",
        response_class=Response,
        responses={
            200: {
                "description": "The sealed message.",
                "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def get_message(order: str, request: Request) -> Response:
        """Give the sealed message of an order."""
        producer, _ = await desk.producers.verify(request)
        found = await find(order, producer)
        await desk.orders.check_kept(found)
        with places.taken():
            return Response(await desk.messages.read(found.message_sha256), HTTPStatus.OK, PRIVATE, MEDIA_TYPE)

    @api.post(
        "/{order}/answer",
        response_class=Response,
        responses=_answers(_ANSWER, "The answer that counts."),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {ANSWER_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def answer(order: str, request: Request) -> Response:
        """Take a producer's answer. The same answer again changes nothing; another one is refused."""
        producer, verified = await desk.producers.verify(request)
        found = await find(order, producer)
        body = await read_small_body(request, ANSWER_TYPE, MAX_ANSWER_BYTES, ANSWER_S)
        try:
            check_content(verified, len(body), hashlib.sha256(body).hexdigest())
        except RequestSignatureError as error:
            raise DigestMismatchError("The bytes that arrived are not those that were signed.") from error
        try:
            given = verify_answer(body, await desk.producers.trust(producer))
        except HandOverError as error:
            raise AnswerRefusedError(
                "The answer cannot be read, or is not signed by the producer: docs/handover.md has its form."
            ) from error
        return JSONResponse(_given(await desk.orders.answer(found, given, body)), headers=PRIVATE)

    @api.post(
        "/{order}/resend",
        response_class=Response,
        status_code=HTTPStatus.ACCEPTED,
        responses={
            202: {
                "description": "The desk is asked; `superseded_by` is the new order once there is one.",
                "content": {"application/json": {"schema": _RESENT}},
            }
        },
    )
    async def resend(order: str, request: Request) -> Response:
        """Ask for an order anew: its message cannot be used, or a key has changed. It comes as a new order with a cursor of its own."""
        producer, verified = await desk.producers.verify(request)
        if verified.content_length:
            raise MalformedRequestError("This request has no content.")
        present = await desk.orders.ask_again(await find(order, producer))
        next_one = await desk.orders.successor(present.id)
        told = {"order": present.id, "superseded_by": next_one.id if next_one else None}
        return JSONResponse(told, HTTPStatus.ACCEPTED, PRIVATE)

    return api


_RESENT = {
    "type": "object",
    "properties": {"order": _ID, "superseded_by": {"type": ["string", "null"]}},
    "required": ["order", "superseded_by"],
}


def _answers(schema: dict[str, Any], description: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "content": {"application/json": {"schema": schema}}}}


def _told(order: Order) -> dict[str, Any]:
    return {
        "cursor": order.cursor,
        "order": order.id,
        "message_sha256": order.message_sha256,
        "size": order.size,
        "created_at": write_instant(order.created_at),
        "answer_by": write_instant(order.answer_by),
        "resend_of": order.resend_of,
        "superseded": order.superseded_at is not None,
        "answer": _given(order) if order.answered_at else None,
        "note": base64.b64encode(order.note).decode("ascii"),
    }


def _given(order: Order) -> dict[str, Any]:
    assert order.answered_at is not None
    return {
        "verdict": order.answer_verdict,
        "code": order.answer_code,
        "answered_at": write_instant(order.answered_at),
    }
