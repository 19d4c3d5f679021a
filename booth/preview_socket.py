"""Pictures by client pull over a WebSocket: "ready" -> 8 bytes big-endian `at_ns`, then a JPEG newer than the last one sent.

A slow page asks less often; nothing piles up. Which pictures may leave, and whether any, is said by whoever opens the socket.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from booth.kiosk import PreviewFrame

POLL_S = 0.004  # a tenth of a frame at 25 per second; looking costs one attribute while the frame is the same


async def serve_pictures(
    websocket: WebSocket,
    closing: asyncio.Event,
    newest: Callable[[], PreviewFrame | None],
    admitted: Callable[[], bool] = lambda: True,
) -> None:
    """One picture per "ready" until the page goes, the booth closes, or the page is no longer admitted."""
    await websocket.accept()
    sent_ns = -1
    asking = asyncio.ensure_future(websocket.receive_text())
    stopping = asyncio.ensure_future(closing.wait())
    try:
        while True:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                await websocket.close(code=1001)
                return
            asking.result()
            if not admitted():
                await websocket.close(code=1008)
                return
            asking = asyncio.ensure_future(websocket.receive_text())
            # Until there is a newer picture; a page that goes away in the meantime ends the wait.
            while not (asking.done() or stopping.done()):
                frame = newest()
                if frame is not None and frame.at_ns > sent_ns:
                    if not admitted():  # the session may have ended while there was nothing to see
                        await websocket.close(code=1008)
                        return
                    await websocket.send_bytes(struct.pack(">Q", frame.at_ns) + frame.jpeg)
                    sent_ns = frame.at_ns
                    break
                await asyncio.sleep(POLL_S)
    except (WebSocketDisconnect, KeyError):  # KeyError: starlette's answer to a binary message where text was expected
        return
    finally:
        await end_tasks(asking, stopping)


async def end_tasks(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still waits and take every outcome, so that nothing is left behind."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
