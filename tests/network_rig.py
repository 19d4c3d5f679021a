"""A booth's outbox and uplink, a real intake process, and a line between them that fails on demand, for tests of the network and its bench."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import sqlite3
import ssl
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from booth.config import IntakeSection
from booth.intake_answers import trusting
from booth.outbox import Outbox, OutboxLimits, PacketState, open_outbox
from booth.uplink import Uplink
from crypto.keys import load_trust, open_signer
from crypto.receipt import verify_receipt

START_S = 60.0
STEP_S = 60.0
PIECE_BYTES = 16_384
NO_LIMIT = 1 << 60
HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Weather:
    """What becomes of one connection: cut after so many bytes in either direction, by a reset or an orderly end."""

    up: int = NO_LIMIT
    down: int = NO_LIMIT
    reset: bool = True
    mute: bool = False  # taken, and never answered


FAIR, DOWN, MUTE = Weather(), Weather(up=0, down=0), Weather(mute=True)


def cutting(chance: random.Random, up: int, down: int = 6_000, often: float = 1.0) -> Callable[[], Weather]:
    """Cuts each connection, `often`, at a random byte below `up`; one in five on the way back, below `down`."""

    def weather() -> Weather:
        if chance.random() >= often:
            return FAIR
        reset = chance.random() < 0.5
        if chance.random() < 0.2:
            return Weather(down=chance.randrange(down), reset=reset)
        return Weather(up=chance.randrange(up), reset=reset)

    return weather


class Line:
    """A TCP proxy on loopback; bytes are counted where it may cut."""

    def __init__(self, target: int, bytes_per_s: float | None = None) -> None:
        self.target, self._bytes_per_s = target, bytes_per_s
        self.weather: Callable[[], Weather] = lambda: FAIR
        self.connections = self.cuts = self.up_bytes = 0
        self._changed = asyncio.Condition()
        self._carrying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        listening = socket.create_server((HERE, 0))
        # What a cut leaves in buffers would be a loopback's, not a line's.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE_BYTES)
        self.port = listening.getsockname()[1]
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=PIECE_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"https://{HERE}:{self.port}"

    def hang_up(self) -> None:
        """Ends every connection."""
        for task in self._carrying:
            task.cancel()

    async def after(self, connections: int) -> None:
        """When so many more connections have been made and ended."""
        async with asyncio.timeout(STEP_S), self._changed:
            goal = self.connections + connections
            await self._changed.wait_for(lambda: self.connections >= goal)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        weather = self.weather()
        writers = [writer]
        try:
            if weather.mute:
                while await reader.read(PIECE_BYTES):
                    pass
            elif weather.up and weather.down:
                back, forth = await asyncio.open_connection(HERE, self.target, limit=PIECE_BYTES)
                writers.append(forth)
                for one in writers:
                    one.transport.set_write_buffer_limits(0)
                pumps = [
                    asyncio.create_task(self._pump(reader, forth, weather.up, up=True)),
                    asyncio.create_task(self._pump(back, writer, weather.down, up=False)),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            for one in writers:
                if weather.reset and weather is not FAIR:
                    with contextlib.suppress(OSError):
                        one.get_extra_info("socket").setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                        )
                    one.transport.abort()
                else:
                    one.close()
            for one in writers:
                with contextlib.suppress(OSError):
                    await one.wait_closed()
            async with self._changed:
                self.connections += 1
                self._changed.notify_all()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int, *, up: bool) -> None:
        with contextlib.suppress(OSError):
            while limit > 0 and (data := await source.read(PIECE_BYTES)):
                self.up_bytes += len(data) if up else 0
                if self._bytes_per_s is not None:
                    await asyncio.sleep(len(data) / self._bytes_per_s)
                sink.write(data[:limit])
                await sink.drain()
                limit -= len(data)
            self.cuts += limit <= 0


class Answers(httpx2.AsyncBaseTransport):
    """What a proxy that speaks HTTP may do to requests and answers; `change` gets the request and the way to the intake."""

    def __init__(self, beneath: httpx2.AsyncBaseTransport) -> None:
        self._beneath = beneath
        self.change: Callable[[httpx2.Request, httpx2.AsyncBaseTransport], object] | None = None
        self.changed = 0
        self._more = asyncio.Condition()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.change is None:
            return await self._beneath.handle_async_request(request)
        try:
            return await self.change(request, self._beneath)
        finally:
            async with self._more:
                self.changed += 1
                self._more.notify_all()

    async def after(self, requests: int) -> None:
        """When so many more requests were changed."""
        async with asyncio.timeout(STEP_S), self._more:
            goal = self.changed + requests
            await self._more.wait_for(lambda: self.changed >= goal)

    async def aclose(self) -> None:
        await self._beneath.aclose()


@dataclass
class Booth:
    """The part of a booth that delivers."""

    outbox: Outbox
    uplink: Uplink
    answers: Answers
    told: list[tuple[str, object]]
    delivered: asyncio.Event

    async def all_delivered(self, limit_s: float = STEP_S) -> None:
        """When nothing waits any more."""
        async with asyncio.timeout(limit_s):
            while self.outbox.status.waiting:
                self.delivered.clear()
                if self.outbox.status.waiting:
                    await self.delivered.wait()


@contextlib.asynccontextmanager
async def delivering(folder: Path, pki: Path, url: str, timeout_s: float = 2.0) -> AsyncIterator[Booth]:
    """A booth that delivers what is in the outbox of `folder`, with short pauses."""
    settings = IntakeSection(
        url=url, trust=pki / "ca.pem", timeout_s=timeout_s, first_retry_s=0.01, longest_retry_s=0.1
    )
    signer, trust = open_signer(f"file:{pki / 'booth.key'}"), load_trust(pki / "ca.pem")
    answers = Answers(httpx2.AsyncHTTPTransport(verify=trusting(settings.trust), trust_env=False))
    told: list[tuple[str, object]] = []
    delivered = asyncio.Event()
    with (
        ThreadPoolExecutor(1) as worker,
        open_outbox(folder, OutboxLimits(min_free_bytes=0), time.time) as outbox,
    ):
        async with httpx2.AsyncClient(transport=answers, timeout=timeout_s, trust_env=False) as client:
            uplink = Uplink(
                *(outbox, worker, settings, lambda: signer, lambda: trust, client, time.time),
                tell=lambda source, error: told.append((source, error)),
            )
            uplink.on_delivery = delivered.set
            running = asyncio.create_task(uplink.run())
            try:
                yield Booth(outbox, uplink, answers, told, delivered)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(pki: Path, data: Path, **environment: str) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """An intake process: its port, and the process (to kill)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "server.cli", "serve", "--data", str(data), "--pki", str(pki), "--port", "0", "--json-ready"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | environment,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        yield int(json.loads(line)["url"].rpartition(":")[2]), process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def pretending(folder: Path, pki: Path, case: str) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Somebody else in the intake's place, with a certificate that proves nothing: its port, and what it was told."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            heard.append(await reader.read(PIECE_BYTES))
            writer.close()
            await writer.wait_closed()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_false_certificate(folder, pki, case))
    server = await asyncio.start_server(listen, HERE, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await server.wait_closed()


def _false_certificate(folder: Path, pki: Path, case: str) -> tuple[Path, Path]:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    authority = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    root = x509.load_pem_x509_certificate((pki / "ca.pem").read_bytes())
    assert isinstance(authority, ec.EllipticCurvePrivateKey)
    name = "another.example" if case == "wrong host" else "localhost"
    addresses = [] if case == "wrong host" else [x509.IPAddress(ip_address(HERE))]
    until = now - timedelta(days=1) if case == "expired" else now + timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key if case == "untrusted" else authority, hashes.SHA384())
    )
    chain, secret = folder / f"{case}.pem", folder / f"{case}.key"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, secret


def check_delivered_once(outbox: Outbox, pki: Path, data: Path, digests: list[str]) -> None:
    """Every packet stands in the intake's database and log exactly once, and the booth holds its receipt instead of its copy."""
    entries = {entry.sha256: entry for entry in outbox.entries()}
    assert sorted(entries) == sorted(digests)
    assert {entry.state for entry in entries.values()} == {PacketState.RECEIPTED}
    trust = load_trust(pki / "ca.pem")
    positions = []
    for sha256 in digests:
        receipt = outbox.receipt(sha256)
        assert receipt is not None
        positions.append(verify_receipt(receipt, trust, sha256).position)
    assert sorted(positions) == list(range(len(digests)))
    with contextlib.closing(sqlite3.connect(data / "intake.sqlite3")) as database:
        stored = [row[0] for row in database.execute("SELECT sha256 FROM packets")]
    assert sorted(stored) == sorted(digests)
    kept = [path for path in (data / "objects").rglob("*") if path.is_file() and path.parent.name != "incoming"]
    assert sorted(path.name for path in kept) == sorted(digests)
