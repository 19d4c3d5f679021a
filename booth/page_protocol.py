"""HTTP and WebSocket as the booth's pages are served: uvicorn's, which repeats nothing of what was sent and names no library."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from crypto.timed_http import TimedProtocol


class PageProtocol(TimedProtocol):
    """Requests of the pages."""

    malformed = json.dumps(
        {"error": {"code": "page.malformed", "message": "This is not an HTTP request."}}, separators=(",", ":")
    ).encode()


class PageSocket(WebSocketsSansIOProtocol):
    """The preview's socket."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _Handshake(max_size=config.ws_max_size, logger=logging.getLogger("uvicorn.error"))

    def send_receive_event_to_app(self) -> None:
        """A text that is not UTF-8 closes the socket (RFC 6455, 8.1); uvicorn would also log a trace of its own at each."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                if self.conn.state is State.OPEN:  # else a close came along with it, and is answered
                    self.conn.send_close(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()


class _Handshake(ServerProtocol):
    """Refuses a handshake without the library's reasons, which hold the headers that were sent."""

    def reject(self, status: int, text: str) -> Response:
        return super().reject(status, "This is not a WebSocket of this page.\n" if text else "")
