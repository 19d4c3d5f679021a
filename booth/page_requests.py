"""What every request to the booth's pages has in common: errors as JSON, and bodies that are small and come in time."""

from __future__ import annotations

import asyncio

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

MAX_COMMAND_BYTES = 4096  # the longest command is a typed number of 64 characters
COMMAND_S = 5.0  # a command comes from this machine, in one piece


def problem(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as every page understands it."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def limited_body(request: Request) -> bytes | Response:
    """The request's body, or the answer as soon as it is longer or slower than a command can be."""
    body = bytearray()
    try:
        async with asyncio.timeout(COMMAND_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_COMMAND_BYTES:
                    return problem(413, "page.too_large", f"A command has at most {MAX_COMMAND_BYTES} bytes.")
    except TimeoutError:
        return problem(408, "page.slow", f"A command is sent within {COMMAND_S:.0f} seconds.")
    except ClientDisconnect:
        # For the record: nobody hears it.
        return problem(400, "page.gone", "The page left before its command was complete.")
    return bytes(body)
