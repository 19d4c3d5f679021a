"""HTTP/1.1 for every server of the house: uvicorn's, with what it leaves open.

Rules: a request's head has `head_s` to arrive, also the next one on a kept connection; whoever was refused has the same time to finish its body. Bytes
that are not HTTP are answered once with `malformed`, which repeats nothing of them; a request that is worked on meanwhile hears that its sender is
gone, and its answer, for which there is no way any more, is dropped instead of failing. `left` is called when the connection is lost. What of a
body came before that and was not asked for yet, which uvicorn drops, is in the request's state as UNREAD; reading pauses when that is more than
`read_ahead_bytes`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import ClassVar

import h11
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

UNREAD = "unread_body"
# For the rest of an answer on its way and for TLS's goodbye when a server stops.
GOODBYE_S = 0.5


class TimedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a time limit for request heads and the house's own words."""

    head_s: ClassVar[float] = 10.0
    malformed: ClassVar[bytes] = b""
    malformed_type: ClassVar[str] = "application/json"
    read_ahead_bytes: ClassVar[int] = HIGH_WATER_LIMIT
    left: Callable[[], None] | None = None
    _stopping = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first head."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Start or stop the clock by what the bytes completed."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock, keep what came, make room for another connection."""
        self._stop_watch()
        if self.cycle is not None:
            self.cycle.scope["state"][UNREAD] = self.cycle.body
        if self.left is not None:
            self.left()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Give a sender whose body was refused the same time to finish it."""
        super().on_response_complete()
        self._watch()
        self._part()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP in our own words."""
        del msg
        working: RequestResponseCycle | None = self.cycle
        if working is not None and not working.response_complete:
            working.disconnected = True
            working.message_event.set()
        headers = [
            ("content-type", self.malformed_type),
            ("content-length", str(len(self.malformed))),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        with contextlib.suppress(h11.LocalProtocolError):  # half an answer is already out: closing is all that is left
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=self.malformed),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def shutdown(self) -> None:
        """The server stops: close once the running request is answered."""
        self._stopping = True
        super().shutdown()
        self._part()

    def _part(self) -> None:
        """Wait no longer for TLS's goodbye of a peer that keeps the connection and does not look at it."""
        if self._stopping and self.transport.is_closing():
            self.loop.call_later(GOODBYE_S, self.transport.abort)

    def _watch(self) -> None:
        theirs, ours = self.conn.their_state, self.conn.our_state
        waiting = theirs is h11.IDLE or (theirs is h11.SEND_BODY and ours is h11.DONE)
        if not waiting:
            self._stop_watch()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_s, self.transport.abort)

    def _stop_watch(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Flow(FlowControl):
    """uvicorn's, with a limit of our own."""

    def __init__(self, transport: asyncio.Transport, protocol: TimedProtocol) -> None:
        super().__init__(transport)
        self._protocol = protocol

    def pause_reading(self) -> None:
        """Pause once so much is unread; uvicorn asks from HIGH_WATER_LIMIT on."""
        cycle: RequestResponseCycle | None = self._protocol.cycle
        if cycle is None or cycle.response_complete or len(cycle.body) > self._protocol.read_ahead_bytes:
            super().pause_reading()
