"""What a process counts of itself, told to Prometheus as text on a plain listener of its own.

Rules: one registry for a process, never the library's global one; every name begins with `passbooth_`; a label has few values, known beforehand (route,
method, status, code, outcome): never a booth's name, an address, a digest or anything of an applicant. Whoever counts something new adds it here, so that
all names stand in one place.

The listener is off unless a port is given, binds loopback alone (a collector on the machine asks it; it is never reachable through the
public port), speaks GET /metrics only, and gives each asker ASK_S. Order of operation of an answer: each of `asked` in turn brings gauges up to date
that live elsewhere, as in the database; one that fails is logged and counted, and the rest is told all the same; then the text.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from server.errors import ListenError, ServerError

log = logging.getLogger(__name__)

# One more line for each of a histogram's, which nobody here reads.
disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no types for it

LOOPBACK = "127.0.0.1"
ASK_S = 5.0
MAX_ASK_BYTES = 8192
# A collector asks every few seconds, over one connection.
MAX_ASKERS = 8
METHODS = frozenset({"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS"})
# An answer takes milliseconds, an upload over a slow line minutes.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
BATCH = (1, 2, 4, 8, 16, 32, 64)  # up to receipt_log.MAX_BATCH


class Metrics:
    """The numbers of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(namespace="passbooth", registry=registry)
        self.asked: list[Callable[[], Awaitable[None]]] = []
        self.requests = Counter(
            "passbooth_requests", "Requests that were answered.", ("method", "route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "passbooth_request_seconds",
            "From a request's head to its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.refusals = Counter("passbooth_refusals", "Problems told, by their code.", ("code",), registry=registry)
        self.packets = Counter(
            "passbooth_packets", "Uploads that ended with a receipt.", ("outcome",), registry=registry
        )
        for outcome in ("stored", "known"):
            self.packets.labels(outcome)
        self.packet_bytes = Counter("passbooth_packet_bytes", "Bytes of packets that were stored.", registry=registry)
        self.uploads = Gauge("passbooth_uploads_under_way", "Uploads that are being received.", registry=registry)
        self.connections = Gauge(
            "passbooth_connections", "Connections, those in their TLS handshake included.", registry=registry
        )
        self.draining = Gauge(
            "passbooth_draining", "1 once the process was asked to end and takes no new work.", registry=registry
        )
        self.commit_packets = Histogram(
            "passbooth_commit_packets", "Uploads in one commit of the receipt log.", buckets=BATCH, registry=registry
        )
        self.commit_seconds = Histogram(
            "passbooth_commit_seconds", "How long a commit of the receipt log took.", buckets=SECONDS, registry=registry
        )
        self.orders_waiting = Gauge(
            "passbooth_orders_waiting", "Orders that no producer has answered yet.", registry=registry
        )
        self.orders_late = Gauge(
            "passbooth_orders_late", "Orders that no producer has answered in time.", registry=registry
        )
        self.alerts = Gauge(
            "passbooth_alerts", "Alerts about booths that are not over.", ("kind", "level"), registry=registry
        )
        self.booths = Gauge("passbooth_booths", "Booths by what is known of them.", ("state",), registry=registry)
        self.job_ran_at = Gauge(
            "passbooth_job_ended_seconds", "When a background job last came to an end.", ("job",), registry=registry
        )
        self.job_failed = Gauge(
            "passbooth_job_failed", "1 when a background job's last run failed.", ("job",), registry=registry
        )
        self.damaged_objects = Gauge(
            "passbooth_damaged_objects", "Stored objects that are missing or damaged.", registry=registry
        )
        self.scrubbed_since = Gauge(
            "passbooth_scrubbed_since_seconds",
            "Since when every stored object was read at least once.",
            registry=registry,
        )
        self.unfinished_deletions = Gauge(
            "passbooth_unfinished_deletions",
            "Deleted packets whose stored bytes are not proven to be gone yet.",
            registry=registry,
        )
        self.queue_unread = Gauge(
            "passbooth_queue_unread", "Packets that no desk has read for its lists yet.", registry=registry
        )
        self.failed_gauges = Counter(
            "passbooth_failed_gauges", "Gauges that could not be brought up to date.", registry=registry
        )

    def request(self, method: str, route: str, status: int, seconds: float, code: str | None) -> None:
        """Count a request; `route` is the pattern of its address, never the address."""
        self.requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)
        if code is not None:
            self.refusals.labels(code).inc()

    async def text(self) -> bytes:
        """Everything, as a collector wants it."""
        for bring in self.asked:
            try:
                await bring()
            except ServerError as error:
                log.warning("A gauge could not be brought up to date.", exc_info=error, extra={"code": error.code})
                self.failed_gauges.inc()
        return generate_latest(self.registry)


class _Listener:
    """GET /metrics and nothing else."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._askers = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one answer."""
        self._askers += 1
        try:
            if self._askers <= MAX_ASKERS:
                async with asyncio.timeout(ASK_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._answer(head))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("An asker for metrics did not ask.")
        finally:
            self._askers -= 1
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            return _message("404 Not Found", b"")
        if method != b"GET":
            return _message("405 Method Not Allowed", b"", "Allow: GET")
        return _message("200 OK", await self._metrics.text(), f"Content-Type: {CONTENT_TYPE_PLAIN_0_0_4}")


def _message(status: str, body: bytes, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Cache-Control: no-store")
    return "\r\n".join((*lines, "X-Content-Type-Options: nosniff", "Connection: close", "", "")).encode() + body


@contextlib.asynccontextmanager
async def open_metrics(metrics: Metrics, port: int | None) -> AsyncIterator[int | None]:
    """Tell the numbers on loopback until the block ends; yields the port in use, None when it is off. Raises `ListenError`."""
    if port is None:
        yield None
        return
    try:
        server = await asyncio.start_server(_Listener(metrics).serve, LOOPBACK, port, limit=MAX_ASK_BYTES)
    except OSError as error:
        raise ListenError(
            f"Port {port} on {LOOPBACK} cannot be listened on for metrics: another program has it."
        ) from error
    try:
        found = int(server.sockets[0].getsockname()[1])
        log.info("Metrics are told on loopback.", extra={"url": f"http://{LOOPBACK}:{found}/metrics"})
        yield found
    finally:
        server.close()
        await server.wait_closed()
