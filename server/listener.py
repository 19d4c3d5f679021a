"""One HTTPS listener: bind, say so, serve, stop well.

Order of operation: the socket is bound before anything is told, so the ready line names the real port; SIGTERM or SIGINT closes the listening
socket, lets running requests finish (at most `stop_s`), and `listen` returns; a second SIGINT does not wait. With `drain_s`, SIGTERM first says that it is
asked to end (`on_drain`, for /v1/ready) and takes work so much longer, so that a load balancer sends new work elsewhere before connections are refused;
SIGINT, or a second signal, cuts that short. TLS 1.2 is the least.

server/gate.py accepts, counts and finishes TLS; crypto/timed_http.py closes connections that are slow with a request's head, and those that trickle a
body which was refused long ago. What is not HTTP at all is answered as a problem, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from crypto.heap import trim_heap
from crypto.supervision import supervised
from crypto.timed_http import TimedProtocol
from server.addresses import in_all_spellings
from server.config import ListenSettings
from server.errors import ListenError, MalformedRequestError, SettingsError
from server.gate import Gate, GateLimits, Left
from server.metrics import Metrics, open_metrics
from server.problems import MEDIA_TYPE, problem_body

log = logging.getLogger(__name__)

BACKLOG = 512
# What comes while a request's signature is judged. When a connection is reset, what was not read from it is lost, and sent again.
READ_AHEAD_BYTES = 256 * 1024
KEEP_ALIVE_S = 15
# A request head with a chain of three certificates has 6 kB.
MAX_HEAD_BYTES = 32 * 1024
# Without one of these that were there at the start the program does not work: the watchdog is not fed.
MAIN_TASKS = frozenset({"gate", "receipt-log-writer", "intake-nonce-sweep", "revocation-list", "desk-sweep"})
# Freed memory goes back to the system this often: what the desk let go of, and what a flood left between things that stay.
TRIM_S = 15.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Moments:
    """What is told of a listener's life: connections are accepted; it was asked to end."""

    ready: Callable[[], None]
    draining: Callable[[], None]


class _Server(uvicorn.Server):
    """uvicorn behind our gate, without its own signal handling, which would end the process with the signal's exit code."""

    def __init__(
        self,
        config: uvicorn.Config,
        bound: socket.socket,
        context: ssl.SSLContext,
        limits: GateLimits,
        moments: Moments,
        drain_s: float,
    ) -> None:
        super().__init__(config)
        self.servers = []  # uvicorn's own listeners: none, the gate is ours
        self.gate = Gate(bound, context, limits, self._make_protocol)
        self._moments, self._drain_s = moments, drain_s
        self._draining: asyncio.TimerHandle | None = None

    def _make_protocol(self, left: Left) -> asyncio.Protocol:
        protocol: TimedProtocol = self.config.http_protocol_class(  # type: ignore[call-arg, assignment]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        protocol.left = left
        return protocol

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        del sockets
        await self.lifespan.startup()
        self.gate.open(self.config.backlog)
        self.started = True
        self._moments.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.gate.close()
        await self.gate.wait_closed()
        log.info("No new connections; running requests are finished.")
        await super().shutdown(sockets)

    def _stop(self, number: int) -> None:
        """Begin to drain, or stop: at Ctrl-C, at a second signal, and when there is nothing to wait for."""
        if self._draining is not None:
            self._draining.cancel()
        elif not self.should_exit:
            self._moments.draining()
            if number == signal.SIGTERM and self._drain_s > 0:
                log.info("Asked to end: work is taken until others have noticed.")
                loop = asyncio.get_running_loop()
                self._draining = loop.call_later(self._drain_s, self.handle_exit, number, None)
                return
        self.handle_exit(number, None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the stop signals in the loop."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)


def bind(host: str, port: int) -> socket.socket:
    """A listening address of our own. Raises `ListenError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"The address {host} is not one of this machine: correct the host setting.") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ListenError(
            f"Port {port} on {host} cannot be listened on: another program has it, or it needs more rights."
        ) from error
    return bound


def tls_context(settings: ListenSettings) -> ssl.SSLContext:
    """TLS with our certificate, 1.2 or newer. Raises `SettingsError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"The TLS certificate {settings.tls_certificate} and its key {settings.tls_key} cannot be used together."
        ) from error
    return context


def seen_through(app: ASGIApp, settings: ListenSettings) -> ASGIApp:
    """The application with the client's own address where a trusted proxy stands between."""
    if not settings.trusted_proxies:
        return app
    return cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", app), in_all_spellings(settings.trusted_proxies)))


def url_of(bound: socket.socket, host: str) -> str:
    """The address that a client uses."""
    port = bound.getsockname()[1]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


async def listen(
    app: ASGIApp,
    settings: ListenSettings,
    on_ready: Callable[[str], None],
    metrics: Metrics,
    on_drain: Callable[[], None] = lambda: None,
) -> None:
    """Serve `app` until SIGTERM or SIGINT; calls `on_ready(url)` once connections are accepted, `on_drain()` when it is asked to end.

    Raises `ListenError`, `SettingsError`.
    """
    context = tls_context(settings)
    bound = bind(settings.host, settings.port)

    class Protocol(TimedProtocol):
        head_s = settings.head_s
        read_ahead_bytes = READ_AHEAD_BYTES
        malformed = json.dumps(problem_body(MalformedRequestError("This is not an HTTP request."))).encode()
        malformed_type = MEDIA_TYPE

    try:
        config = uvicorn.Config(
            seen_through(app, settings),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            loop="asyncio",
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.stop_s,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        url = url_of(bound, settings.host)
        limits = GateLimits(
            settings.max_connections, settings.max_per_address, settings.head_s, settings.trusted_proxies
        ).within_files()
        async with supervised(MAIN_TASKS) as ready:

            def served() -> None:
                ready()
                on_ready(url)

            def draining() -> None:
                metrics.draining.set(1)
                on_drain()

            server = _Server(config, bound, context, limits, Moments(served, draining), settings.drain_s)
            metrics.connections.set_function(lambda: server.gate.connections)
            trimming = asyncio.create_task(_trim(), name="heap")
            try:
                async with open_metrics(metrics, settings.metrics_port):
                    await server.serve()
            finally:
                trimming.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await trimming
    finally:
        bound.close()


async def _trim() -> None:
    while True:
        await asyncio.sleep(TRIM_S)
        await asyncio.to_thread(trim_heap)
