"""The door of the booth's pages: who may ask, and what every answer carries.

Rules:
  - The peer is loopback, the Host is a loopback name, an Origin (where sent) is our own. This stops other machines, and foreign sites that
    reach loopback through the visitor's browser or through DNS. One door stays open to them: opening the kiosk page in a window of its own, as
    the kiosk's waiting page on the disk does; that changes nothing, and the opener can read nothing of it. That page learns from a refusal, which says nothing, that the
    controller answers.
  - Every answer is `no-store` (but for the sounds under MAY_BE_KEPT, which hold nothing of a visit), and no page of ours runs foreign or inline code (strict Content-Security-Policy), in no frame.
"""

from __future__ import annotations

import ipaddress
import logging
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Files whose names change with their contents; an answer of 200 below this address says itself how long it may be kept.
MAY_BE_KEPT = "/voice/"
_SECURITY_HEADER_BYTES = [(name.lower().encode(), value.encode()) for name, value in _SECURITY_HEADERS.items()]
_REFUSAL_HEADER_BYTES = [
    (name, b"cross-origin" if name == b"cross-origin-resource-policy" else value)
    for name, value in _SECURITY_HEADER_BYTES
]

_JUDGED = (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")

log = logging.getLogger(__name__)


class Guard:
    """Refuses what does not come from a page of this machine; adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        reason = _foreign(scope)
        if reason is not None:
            log.warning("Refused a request from outside: %s", reason)
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": "not from this booth's page"})
            else:
                error = {"code": "page.foreign", "message": "This address is only for the booth's own screen."}
                await JSONResponse({"error": error}, 403)(scope, receive, _with_headers(send, _REFUSAL_HEADER_BYTES))
            return
        keeps = str(scope["path"]).startswith(MAY_BE_KEPT)
        await self._app(scope, receive, _with_headers(send, _SECURITY_HEADER_BYTES, keeps=keeps))


def _with_headers(send: Send, every: list[tuple[bytes, bytes]], *, keeps: bool = False) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = keeps and message["status"] == 200
            headers = [each for each in every if not (kept and each[0] == b"cache-control")]
            ours = {name for name, _ in headers}
            theirs = [(name, value) for name, value in message.get("headers", []) if name.lower() not in ours]
            message = {**message, "headers": [*theirs, *headers]}
        await send(message)

    return send_with_headers


def _foreign(scope: Scope) -> str | None:
    """Why a request is not from a page of this machine; None when it is."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    client = scope.get("client")
    if client is None or not _is_loopback(client[0]):
        return "the peer is not on this machine"
    names = [name for name, _ in scope["headers"]]
    if any(names.count(name) > 1 for name in _JUDGED):
        return "a header that is judged is there twice"
    host = headers.get(b"host", b"").decode("latin-1")
    if not _is_own_name(host):
        return "the Host is not this machine's"
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") != f"http://{host}":
        return "the Origin is another site"
    if headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"} and not _opens_page(scope, headers):
        return "the browser says that another site asks"
    return None


def _opens_page(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """The kiosk page as a window's document; never in a frame, as code, or by a form that posts."""
    asked = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/"
    return asked and headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_own_name(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK_NAMES
    except ValueError:
        return False
