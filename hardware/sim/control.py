"""The control socket: one JSON object per line in, one JSON answer per line out, on a Unix stream socket.

Orders in one object are carried out in the order in which they stand; the answer is `{"ok": true, ...}` or `{"ok": false, "error": sentence}`.
Nothing of an object is carried out after the first order that fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from pathlib import Path

LINE_LIMIT_BYTES: Final = 65536


class OrderRefusedError(Exception):
    """An order that cannot be carried out; the text says why."""


class Orders(Protocol):
    """Who carries out the orders."""

    async def order(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carries out one object and returns what to add to the answer."""


class ControlSocket:
    """The server."""

    def __init__(self, path: Path, orders: Orders) -> None:
        self.path = path
        self._orders = orders
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, str(self.path), limit=LINE_LIMIT_BYTES)
        self.path.chmod(0o600)

    async def close(self) -> None:
        """Ends it and its connections."""
        if self._server is not None:
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass  # gone, or a line above the limit: the connection ends
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            if task is not None:
                self._tasks.discard(task)

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "this line is not JSON"}
        if not isinstance(request, dict) or not request:
            return {"ok": False, "error": 'an order is a JSON object such as {"sitter": "arrive"}'}
        try:
            return {"ok": True, **await self._orders.order(request)}
        except OrderRefusedError as error:
            return {"ok": False, "error": str(error)}
