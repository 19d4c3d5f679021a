"""What a booth asks for its orders: those that wait, its answer to one, and the sealed support bundle before it.

Every request is signed by the booth (server/signed_requests.py) and counts once; a booth sees its own orders, another's are to it as if there were none. An
answer is signed twice: as a request, and by itself, because it is kept as the booth's word and read by the desk. The bundle can be opened by nobody here.

    GET  /v1/booth-orders                   what waits, the lowest number first
    PUT  /v1/booth-orders/{order}/bundle    the sealed bundle of an order that asks for one
    POST /v1/booth-orders/{order}/answer    what came of it
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from crypto.booth_order import (
    ANSWER_TYPE,
    BUNDLE_TYPE,
    MAX_ANSWER_BYTES,
    MAX_SEALED_BUNDLE_BYTES,
    OrderKind,
    verify_booth_answer,
)
from crypto.errors import BoothOrderError, CryptoError, RequestSignatureError
from crypto.http_signature import VerifiedRequest, check_content
from crypto.seal import read_header
from server.booth_order_errors import BoothOrderAnswerRefusedError, BoothOrderUnknownError
from server.booth_orders import BoothOrders, StoredOrder
from server.booth_trust import BoothTrust
from server.errors import DigestMismatchError, MalformedRequestError
from server.receiving import Places, read_small_body
from server.signed_requests import SignedRequests

ORDER = re.compile(r"[0-9a-f]{32}")
ANSWER_S, BUNDLE_S = 20.0, 120.0
# Bundles in memory at once: 5 MiB at most, each.
AT_ONCE, RETRY_AFTER_S = 4, 5
PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_LIST = {
    "type": "object",
    "properties": {
        "orders": {
            "type": "array",
            "items": {"type": "string", "contentEncoding": "base64", "description": "A signed order (CMS)."},
        }
    },
    "required": ["orders"],
}
_TAKEN = {
    "type": "object",
    "properties": {
        "order": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "outcome": {"type": "string", "enum": ["done", "refused", "failed"]},
    },
    "required": ["order", "outcome"],
}


@dataclass(frozen=True)
class BoothOrderDesk:
    """What the routes work with."""

    orders: BoothOrders
    signed: SignedRequests
    trust: BoothTrust


def make_booth_order_routes(desk: BoothOrderDesk) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1/booth-orders")
    places = Places(AT_ONCE, RETRY_AFTER_S)

    async def sender(request: Request) -> VerifiedRequest:
        verified = await desk.signed.verify(request)
        await desk.signed.use_nonce(verified)
        return verified

    async def find(order: str, booth: str) -> StoredOrder:
        if not ORDER.fullmatch(order):
            raise MalformedRequestError("An order is addressed by 32 lower-case hex digits.")
        found = await desk.orders.find(order, booth)
        if found.withdrawn_at is not None and found.answered_at is None:
            raise BoothOrderUnknownError("The order was taken back.")
        return found

    async def body_of(request: Request, verified: VerifiedRequest, kind: str, most: int, total_s: float) -> bytes:
        body = await read_small_body(request, kind, most, total_s)
        try:
            check_content(verified, len(body), hashlib.sha256(body).hexdigest())
        except RequestSignatureError as error:
            raise DigestMismatchError("The bytes that arrived are not those that were signed.") from error
        return body

    @api.get("", response_class=Response, responses=_told(_LIST, "The booth's orders that wait."))
    async def list_orders(request: Request) -> Response:
        """Give a booth the orders that wait for it. The request is signed (RFC 9421)."""
        verified = await sender(request)
        found = await desk.orders.waiting(verified.booth_id)
        return JSONResponse({"orders": [base64.b64encode(one.document).decode() for one in found]}, headers=PRIVATE)

    @api.put(
        "/{order}/bundle",
        response_class=Response,
        status_code=HTTPStatus.NO_CONTENT,
        responses={204: {"description": "It is kept for the desk."}},
        openapi_extra=_body(BUNDLE_TYPE),
    )
    async def put_bundle(order: str, request: Request) -> Response:
        """Take the sealed support bundle that an order asks for; a later one takes its place until the order is answered."""
        verified = await sender(request)
        found = await find(order, verified.booth_id)
        if found.kind != OrderKind.SUPPORT_BUNDLE:
            raise BoothOrderAnswerRefusedError("This order asks for no bundle.")
        with places.taken():
            sealed = await body_of(request, verified, BUNDLE_TYPE, MAX_SEALED_BUNDLE_BYTES, BUNDLE_S)
            try:
                header = read_header(sealed)
            except CryptoError as error:
                raise BoothOrderAnswerRefusedError("The bundle is not sealed as docs/fleet.md says.") from error
            if (header.packet_id, header.booth) != (found.id, verified.booth_id):
                raise BoothOrderAnswerRefusedError("The bundle is another booth's, or for another order.")
            await desk.orders.keep_bundle(found, sealed)
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=PRIVATE)

    @api.post(
        "/{order}/answer",
        response_class=Response,
        responses=_told(_TAKEN, "The answer that counts."),
        openapi_extra=_body(ANSWER_TYPE),
    )
    async def answer(order: str, request: Request) -> Response:
        """Take a booth's answer. The same answer again changes nothing; another one is refused."""
        verified = await sender(request)
        found = await find(order, verified.booth_id)
        body = await body_of(request, verified, ANSWER_TYPE, MAX_ANSWER_BYTES, ANSWER_S)
        try:
            given = verify_booth_answer(body, await desk.trust.current())
        except BoothOrderError as error:
            raise BoothOrderAnswerRefusedError(
                "The answer cannot be read, or is not signed by a booth: docs/fleet.md has its form."
            ) from error
        digest = hashlib.sha256(found.document).hexdigest()
        if (given.order, given.order_sha256, given.booth) != (found.id, digest, verified.booth_id):
            raise BoothOrderAnswerRefusedError("The answer is another booth's, or to another order.")
        kept = await desk.orders.answer(found, given, body)
        return JSONResponse({"order": kept.id, "outcome": kept.outcome}, headers=PRIVATE)

    return api


def _told(schema: dict[str, Any], description: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "content": {"application/json": {"schema": schema}}}}


def _body(kind: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}
