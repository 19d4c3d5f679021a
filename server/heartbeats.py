"""`POST /v1/heartbeats`: a booth tells its health and the counts of its days (crypto/heartbeat.py).

Order of operation: signature of the request (as for packets) → how often this booth tells → small JSON body, against the signed digest → the schema → the body
names the booth of the certificate, and a time within the signature's window → in one transaction the nonce is used up and the rows are written
(server/fleet_rows.py) → how many remote orders wait, and when to tell again.

What is told is believed as far as the certificate goes: a booth can speak of itself alone, and of nothing that this intake acts on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from fastapi import APIRouter, Request, Response

from crypto.errors import HeartbeatError, RequestSignatureError
from crypto.heartbeat import INTERVAL_S, MAX_HEARTBEAT_BYTES, MEDIA_TYPE, HeartbeatAnswer, read_heartbeat
from crypto.http_signature import WINDOW_S, check_content
from server.errors import DigestMismatchError, ReplayedRequestError
from server.fleet_errors import HeartbeatBoothError, HeartbeatRefusedError, HeartbeatsAtOnceError
from server.fleet_rows import REPLAYED, Told, note_heartbeats
from server.gathering import Gathering
from server.rates import Rate, Rates
from server.receiving import read_small_body
from server.signed_requests import SignedRequests
from server.store import Store

BODY_S = 10.0
# A booth that starts again and again, or whose network comes and goes, tells more often than its interval; a key in wrong hands no faster than this.
TELLING = Rate(burst=10, per_s=30.0)
APART = timedelta(seconds=WINDOW_S)
MOST_TOGETHER = 64  # heartbeats in one transaction

Waiting = Callable[[str], Awaitable[int]]


async def nothing_waits(booth: str) -> int:  # noqa: ARG001 (the form of what tells waiting orders)
    """No orders."""
    return 0


class Heartbeats:
    """The work behind the route."""

    def __init__(
        self,
        store: Store,
        signed: SignedRequests,
        now: Callable[[], datetime],
        *,
        interval_s: int = INTERVAL_S,
        waiting: Waiting = nothing_waits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signed, self._now = signed, now
        # On SQLite one writes at a time, and many that wait for their turn do not all get it within its time-out.
        self._told = Gathering(partial(note_heartbeats, store), MOST_TOGETHER, "heartbeats")
        self._interval_s, self._waiting = interval_s, waiting
        self._rates = Rates(TELLING, clock)

    async def take(self, request: Request) -> HeartbeatAnswer:
        """Keep a heartbeat. Raises the `HeartbeatError` family and what signed requests raise."""
        verified = await self._signed.verify(request)
        if wait_s := self._rates.ask(verified.booth_id):
            raise HeartbeatsAtOnceError("This booth tells more often than it is asked to.", retry_after_s=wait_s)
        body = await read_small_body(request, MEDIA_TYPE, MAX_HEARTBEAT_BYTES, BODY_S)
        try:
            check_content(verified, len(body), hashlib.sha256(body).hexdigest())
        except RequestSignatureError as error:
            raise DigestMismatchError("The bytes that arrived are not those that were signed.") from error
        try:
            beat = read_heartbeat(body)
        except HeartbeatError as error:
            raise HeartbeatRefusedError(str(error)) from error
        if beat.booth != verified.booth_id:
            raise HeartbeatBoothError("The heartbeat names another booth than the certificate of its request.")
        if abs(beat.sent_at - verified.created) > APART:
            raise HeartbeatRefusedError("The heartbeat's time is not that of its request: set the clock.")
        if not await self._told.ask(Told(beat, self._now(), self._signed.nonce(verified))):
            raise ReplayedRequestError(REPLAYED)
        return HeartbeatAnswer(actions=await self._waiting(beat.booth), next_s=self._interval_s)


_ANSWER = {
    "type": "object",
    "properties": {"actions": {"type": "integer", "minimum": 0}, "next_s": {"type": "integer", "minimum": 10}},
    "required": ["actions", "next_s"],
    "additionalProperties": False,
}


def make_heartbeat_routes(heartbeats: Heartbeats) -> APIRouter:
    """The route."""
    api = APIRouter(prefix="/v1")

    @api.post(
        "/heartbeats",
        response_class=Response,
        responses={200: {"description": "It is kept.", "content": {MEDIA_TYPE: {"schema": _ANSWER}}}},
        openapi_extra={"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}},
    )
    async def tell(request: Request) -> Response:
        """Take the heartbeat of a booth. The request is signed (RFC 9421)."""
        answer = await heartbeats.take(request)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return Response(answer.model_dump_json(), headers=headers, media_type=MEDIA_TYPE)

    return api
