"""The public status page: whoever has a visit's token learns received, accepted, or retake and why (up to three reasons). Nothing else, and nothing about anybody.

Rules:
  - The token stands behind the number sign of the page's address, which a browser never sends; the page's script reads it there and asks
    `POST /status/v1/lookup` with it in the body. Without script the same is a form. It is in no address, log or error.
  - A token that is unknown, misspelt, or of a visit whose packet has not arrived yet gets one answer.
  - No cookie, no session, nothing kept by anybody; the language is the browser's, or chosen in the address.
  - How often one network (server/addresses.py) asks is limited.
The page is rendered with all outcomes hidden but one, so that a language's words and looks stand in one place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crypto.status_token import LENGTH, make_status_token, read_status_token, status_digest
from server.addresses import network_of
from server.application_errors import StatusAsksError, StatusUnknownError
from server.application_rows import Registry, Status
from server.applications import MAX_REASONS, REASONS, Outcome
from server.errors import MalformedRequestError, UnknownRouteError
from server.messages import LANGUAGES, load_messages
from server.rates import Rate, Rates
from server.receiving import read_small_body

PAGES, STATIC = Path(__file__).parent / "pages", Path(__file__).parent / "static"
FILES = {"status.css": "text/css", "status.js": "text/javascript", "mark.svg": "image/svg+xml"}
MAX_BODY_BYTES = 8 * 1024
BODY_S = 10.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Strict-Transport-Security": "max-age=31536000",
}


class StatusRequest(BaseModel):
    """What the page asks."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    token: str = Field(max_length=64, repr=False, description=f"The visit's token: {LENGTH} characters.")


_TOLD = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "enum": list(Outcome)},
        "reasons": {"type": "array", "items": {"type": "string", "enum": list(REASONS)}, "maxItems": MAX_REASONS},
    },
    "required": ["state", "reasons"],
    "additionalProperties": False,
}


class StatusDesk:
    """Answers for tokens."""

    def __init__(self, registry: Registry, asks_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._rates = Rates(Rate(burst=2 * asks_per_minute, per_s=60.0 / asks_per_minute), clock)
        self._nobody = make_status_token()

    async def answer(self, request: Request, text: str) -> Status:
        """What the bearer of a token may know. Raises `StatusAsksError`, `StatusUnknownError`, `StorageError`."""
        network = network_of(request.client.host if request.client else "")
        if wait_s := self._rates.ask(network):
            raise StatusAsksError("Too many questions come from this address.", retry_after_s=wait_s)
        # What is no token is looked for like any other.
        found = await self._registry.status(status_digest(read_status_token(text) or self._nobody).hex())
        if found is None:
            raise StatusUnknownError("Nothing is known for this code, or nothing has arrived yet.")
        return found


def make_status_routes(desk: StatusDesk) -> APIRouter:
    """The page, its files and its question."""
    api = APIRouter()
    messages = load_messages()
    page = Environment(
        loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("status.html")

    def rendered(request: Request, view: str, told: Sequence[str] = (), status: int = HTTPStatus.OK) -> Response:
        language = messages.language(request.query_params.get("lang"), None, request.headers.get("accept-language"))
        html = page.render(t=language, languages=LANGUAGES, reasons=REASONS, view=view, told=told, length=LENGTH)
        return Response(html, status, HEADERS | {"Vary": "Accept-Language"}, "text/html; charset=utf-8")

    @api.get("/status", include_in_schema=False)
    async def show(request: Request) -> Response:
        return rendered(request, "ask")

    @api.post("/status", include_in_schema=False)
    async def ask_without_script(request: Request) -> Response:
        body = await read_small_body(request, "application/x-www-form-urlencoded", MAX_BODY_BYTES, BODY_S)
        try:
            token = parse_qs(body.decode("utf-8", "replace"), max_num_fields=5).get("token", [""])[0]
        except ValueError:
            # Without its cause, as below.
            raise MalformedRequestError("Send a form with one field: token.") from None
        try:
            found = await desk.answer(request, token)
        except StatusUnknownError:
            return rendered(request, "unknown")
        except StatusAsksError as error:
            answer = rendered(request, "busy", status=error.status)
            answer.headers["Retry-After"] = str(error.retry_after_s)
            return answer
        return rendered(request, found.state, found.reasons)

    @api.get("/status/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        if name not in FILES:
            raise UnknownRouteError("There is nothing at this address.")
        return FileResponse(STATIC / name, media_type=FILES[name], headers=HEADERS | {"Cache-Control": "no-cache"})

    @api.post(
        "/status/v1/lookup",
        response_class=Response,
        responses={200: {"description": "What is known.", "content": {"application/json": {"schema": _TOLD}}}},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": StatusRequest.model_json_schema()}},
            }
        },
    )
    async def look_up(request: Request) -> Response:
        """Say what became of a visit to whoever has its token. Not signed, limited by address."""
        body = await read_small_body(request, "application/json", MAX_BODY_BYTES, BODY_S)
        try:
            token = StatusRequest.model_validate_json(body).token
        except ValidationError:
            # Without its cause: that would hold what was sent.
            raise MalformedRequestError("Send JSON with exactly one text: token.") from None
        found = await desk.answer(request, token)
        return JSONResponse({"state": found.state, "reasons": found.reasons}, headers=HEADERS)

    return api
