"""`POST /v1/applications/lookup`: a booth asks whether an application may be captured, before a visit goes on.

Order of operation: signature of the request (as for packets) → how often this booth asks → small JSON body with exactly `number`, against the signed
digest → nonce used up → form and check character of the number → the registry. The number is in the body alone, never in an address, a log or an error.

An intake into which no application was imported has no registry and says so: booths then go on as without network. Which of unknown, expired and captured
it is, is told to booths only: they alone can ask.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crypto.application import MAX_TEXT, parse_number
from crypto.errors import ApplicationNumberError, RequestSignatureError
from crypto.http_signature import check_content
from server.application_errors import (
    ApplicationCapturedError,
    ApplicationExpiredError,
    ApplicationLookupsError,
    ApplicationUnknownError,
    RegistryEmptyError,
)
from server.application_rows import Registry
from server.applications import Application, Objection, objection
from server.errors import DigestMismatchError, MalformedRequestError
from server.rates import Rate, Rates
from server.receiving import read_small_body
from server.signed_requests import SignedRequests

MAX_BODY_BYTES = 8 * 1024
BODY_S = 10.0
# A booth has a visit a minute at most; a number that is typed wrongly is asked for again.
LOOKUPS = Rate(burst=20, per_s=3.0)


class LookupRequest(BaseModel):
    """What a booth asks."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    number: str = Field(
        min_length=1,
        max_length=MAX_TEXT,
        repr=False,
        description="The application number (docs/application.md).",
        examples=["DEMO2026000017Q"],
    )


_FOUND = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "enum": ["filed", "retake"]},
        "centre": {"type": "string"},
        "expires": {"type": "string", "format": "date"},
    },
    "required": ["state", "centre", "expires"],
    "additionalProperties": False,
}


class Lookups:
    """The work behind the route."""

    def __init__(
        self,
        registry: Registry,
        signed: SignedRequests,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry, self._signed, self._now = registry, signed, now
        self._rates = Rates(LOOKUPS, clock)

    async def look_up(self, request: Request) -> Application:
        """An application that may be captured. Raises the `ApplicationError` family and what signed requests raise."""
        verified = await self._signed.verify(request)
        if wait_s := self._rates.ask(verified.booth_id):
            raise ApplicationLookupsError("This booth asks for too many applications.", retry_after_s=wait_s)
        body = await read_small_body(request, "application/json", MAX_BODY_BYTES, BODY_S)
        try:
            check_content(verified, len(body), hashlib.sha256(body).hexdigest())
        except RequestSignatureError as error:
            raise DigestMismatchError("The bytes that arrived are not those that were signed.") from error
        await self._signed.use_nonce(verified)
        found = await self._registry.find(_read_number(body))
        if found is None:
            if await self._registry.is_empty():
                raise RegistryEmptyError("No application was ever imported here.")
            raise ApplicationUnknownError("No application of this number is filed here.")
        match objection(found, self._now().date()):
            case Objection.EXPIRED:
                raise ApplicationExpiredError("The application's last day is over.")
            case Objection.CAPTURED:
                raise ApplicationCapturedError(
                    "A portrait of this application waits for its decision, or was accepted."
                )
            case None:
                return found


def _read_number(body: bytes) -> str:
    try:
        return parse_number(LookupRequest.model_validate_json(body).number)
    except ValidationError:
        # Without its cause: that would hold what was sent.
        raise MalformedRequestError("Send JSON with exactly one text: number.") from None
    except ApplicationNumberError as error:
        raise MalformedRequestError(f"The number is none: {error}") from error


def make_application_routes(lookups: Lookups) -> APIRouter:
    """The route."""
    api = APIRouter(prefix="/v1/applications")

    @api.post(
        "/lookup",
        response_class=Response,
        responses={200: {"description": "It may be captured.", "content": {"application/json": {"schema": _FOUND}}}},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": LookupRequest.model_json_schema()}},
            }
        },
    )
    async def look_up(request: Request) -> Response:
        """Say to a booth whether an application may be captured. The request is signed (RFC 9421)."""
        found = await lookups.look_up(request)
        told = {"state": found.state, "centre": found.centre, "expires": found.expires.isoformat()}
        return JSONResponse(told, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

    return api
