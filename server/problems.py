"""Errors as RFC 9457 problem details: a stable `code`, a title, one sentence; nothing of the request.

Every answer that is not a success leaves through here, those of FastAPI and Starlette included (whose own texts would repeat what was sent).
Also the request log: one line per request with route, status, the problem's code and duration, never a header, a body or a full path.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import (
    DrainingError,
    MalformedRequestError,
    MethodNotAllowedError,
    ServerError,
    UnknownRouteError,
)
from server.metrics import Metrics

MEDIA_TYPE = "application/problem+json"
# Where a request's scope keeps the code of the problem that answers it.
PROBLEM = "passbooth.problem"
# When to come back if the error does not say: a full disk takes a person, the rest moments.
RETRY_AFTER_S = {503: 5, 507: 60}
log = logging.getLogger(__name__)


def problem_body(error: ServerError) -> dict[str, object]:
    """The members of the problem: RFC 9457's and our `code` and `retry`."""
    return {
        "type": f"urn:passbooth:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": str(error),
        "code": error.code,
        "retry": error.retry,
    }


def problem_response(error: ServerError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an error of ours."""
    more = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **error.headers, **(headers or {})}
    wait_s = error.retry_after_s or RETRY_AFTER_S.get(error.status)
    if wait_s:
        more["Retry-After"] = str(wait_s)
    return JSONResponse(problem_body(error), error.status, more, MEDIA_TYPE)


def known(error: Exception) -> ServerError:
    """The error of ours that stands for any exception."""
    if isinstance(error, ServerError):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return UnknownRouteError("There is nothing at this address.")
        if error.status_code == 405:
            return MethodNotAllowedError("This address does not take this method; see the Allow header.")
        if error.status_code < 500:
            return MalformedRequestError("The request has the wrong form.")
    if isinstance(error, RequestValidationError):
        return MalformedRequestError("A field or header is missing or has the wrong form.")
    return ServerError("The server failed; its log names the place.")


def note_problem(request: Request, told: ServerError, error: Exception) -> None:
    """For the request's line in the log and for the metrics; what we failed at has a line of its own."""
    request.scope[PROBLEM] = told.code
    # Whoever asks whether work is taken is told so at the end, as it should be.
    if told.status >= 500 and not isinstance(told, DrainingError):
        log.error("A request failed.", exc_info=error, extra={"code": told.code, "method": request.method})


def answer_with_problems(app: FastAPI) -> None:
    """Make `app` answer every exception with a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        told = known(error)
        note_problem(request, told, error)
        allow = (getattr(error, "headers", None) or {}).get("Allow")
        return problem_response(told, {"Allow": allow} if allow else None)

    for kind in (ServerError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, answer)


class RequestLog:
    """ASGI middleware: one log line per request, and its part in the metrics."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def remember(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, remember)
        finally:
            took_s = time.perf_counter() - started
            route, code = getattr(scope.get("route"), "path", "?"), scope.get(PROBLEM)
            self._metrics.request(scope["method"], route, status, took_s, code)
            log.info(
                "Request served.",
                extra={
                    "method": scope["method"] if scope["method"].isalpha() and len(scope["method"]) < 8 else "?",
                    "route": route,
                    "status": status,
                    "code": code,
                    "duration_ms": round(took_s * 1000, 1),
                },
            )
