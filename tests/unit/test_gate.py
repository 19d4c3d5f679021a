"""The gate of intake and desk: who holds connections without using them loses them, and keeps nobody else out."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from ipaddress import ip_network

import pytest

from server.addresses import is_within, network_of
from server.config import IntakeSettings
from server.gate import Gate, GateLimits
from server.listener import bind, seen_through
from tests.sealed_packets import Keys

STEP_S = 10.0
LONG_S = 60.0


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("gate-keys") / "pki")


class Echo(asyncio.Protocol):
    def __init__(self, left) -> None:
        self.left = left

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc) -> None:
        self.left()


@contextlib.asynccontextmanager
async def opened(keys: Keys, limits: GateLimits):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.folder / "intake-tls.pem", keys.folder / "intake-tls.key")
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    gate = Gate(bound, context, limits, Echo)
    gate.open(512)
    try:
        yield gate, port
    finally:
        gate.close()
        await gate.wait_closed()


async def connect(keys: Keys, port: int, source: str = "127.0.0.1"):
    trusted = ssl.create_default_context(cafile=str(keys.folder / "ca.pem"))
    async with asyncio.timeout(STEP_S):
        return await asyncio.open_connection("127.0.0.1", port, ssl=trusted, local_addr=(source, 0))


async def connect_plain(port: int, source: str = "127.0.0.1"):
    async with asyncio.timeout(STEP_S):
        return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


async def is_served(connection) -> bool:
    reader, writer = connection
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        writer.write(b"hello")
        async with asyncio.timeout(STEP_S):
            return await reader.readexactly(5) == b"hello"
    return False


async def shown_out(connection) -> None:
    """Return when the other side closed."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(STEP_S):
            assert await connection[0].read() == b""


async def left_to(gate: Gate, count: int) -> None:
    async with asyncio.timeout(STEP_S):
        while gate.connections != count:  # noqa: ASYNC110 - the loop turns; there is nobody to tell an event
            await asyncio.sleep(0)


def hang_up(*connections) -> None:
    for _, writer in connections:
        writer.transport.abort()


async def test_whoever_never_starts_tls_is_shown_out_in_time(keys, no_tasks_left):
    async with opened(keys, GateLimits(8, 8, 0.2)) as (gate, port):
        silent = await connect_plain(port)
        await left_to(gate, 1)
        await shown_out(silent)
        await left_to(gate, 0)
        hang_up(silent)


async def test_an_address_with_too_many_connections_gets_no_more_and_others_are_served(keys, no_tasks_left):
    async with opened(keys, GateLimits(100, 3, LONG_S)) as (gate, port):
        held = [await connect_plain(port) for _ in range(3)]
        await left_to(gate, 3)
        refused = await connect_plain(port)
        await shown_out(refused)
        with pytest.raises(OSError):
            await connect(keys, port)
        other = await connect(keys, port, "127.0.0.2")
        assert await is_served(other)
        hang_up(held[0])
        await left_to(gate, 3)
        again = await connect(keys, port)
        assert await is_served(again)
        hang_up(*held, refused, other, again)
        await left_to(gate, 0)


async def test_all_together_have_a_limit_and_served_connections_count_until_they_end(keys, no_tasks_left):
    async with opened(keys, GateLimits(2, 2, LONG_S)) as (gate, port):
        served = [await connect(keys, port, f"127.0.0.{i}") for i in (1, 2)]
        assert [await is_served(each) for each in served] == [True, True]
        with pytest.raises(OSError):
            await connect(keys, port, "127.0.0.3")
        hang_up(served[0])
        await left_to(gate, 1)
        third = await connect(keys, port, "127.0.0.3")
        assert await is_served(third)
        assert await is_served(served[1])
        hang_up(*served, third)
        await left_to(gate, 0)


async def test_one_rush_is_one_line_in_the_log(keys, no_tasks_left, caplog):
    async with opened(keys, GateLimits(1, 1, LONG_S)) as (gate, port):
        held = await connect_plain(port)
        await left_to(gate, 1)
        for _ in range(5):
            refused = await connect_plain(port)
            await shown_out(refused)
            hang_up(refused)
        hang_up(held)
        await left_to(gate, 0)
    assert [record.message for record in caplog.records] == ["Connections are refused: there are too many."]


async def test_what_is_not_tls_costs_its_own_connection_alone(keys, no_tasks_left):
    async with opened(keys, GateLimits(8, 8, LONG_S)) as (gate, port):
        plain = await connect_plain(port)
        plain[1].write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(OSError):
            await asyncio.wait_for(plain[0].read(), STEP_S)
        await left_to(gate, 0)
        hang_up(plain)


async def test_closing_ends_handshakes_and_leaves_served_connections(keys, no_tasks_left):
    async with opened(keys, GateLimits(8, 8, LONG_S)) as (gate, port):
        served = await connect(keys, port)
        silent = await connect_plain(port)
        await left_to(gate, 2)
        gate.close()
        await gate.wait_closed()
        await shown_out(silent)
        assert await is_served(served)
        with pytest.raises(OSError):
            await connect_plain(port)
        hang_up(served, silent)
        await left_to(gate, 0)


async def test_a_system_that_refuses_to_accept_is_asked_again(keys, no_tasks_left, monkeypatch, caplog):
    loop = asyncio.get_running_loop()
    accept = loop.sock_accept
    refusals = [OSError(24, "Too many open files"), ConnectionAbortedError()]

    async def refusing(listening: socket.socket):
        if refusals:
            raise refusals.pop()
        return await accept(listening)

    monkeypatch.setattr("server.gate.ACCEPT_RETRY_S", 0.0)
    monkeypatch.setattr(loop, "sock_accept", refusing)
    async with opened(keys, GateLimits(8, 8, LONG_S)) as (gate, port):
        served = await connect(keys, port)
        assert await is_served(served)
        hang_up(served)
        await left_to(gate, 0)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_connections_never_take_more_than_half_of_the_files(monkeypatch):
    for files, total in ((256, 128), (1_000_000, 512), (resource.RLIM_INFINITY, 512), (1, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert GateLimits(512, 64, 10.0).within_files() == GateLimits(total, 64, 10.0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "testclient", False),
    ],
)
def test_a_network_is_an_ipv4_address_or_an_ipv6_64(one, other, same):
    assert (network_of(one) == network_of(other)) is same


async def test_a_trusted_proxy_may_hold_more_connections_than_one_address_may(keys, no_tasks_left):
    limits = GateLimits(10, 1, LONG_S, (ip_network("127.0.0.2/32"),))
    async with opened(keys, limits) as (_, port):
        proxied = [await connect(keys, port, "127.0.0.2") for _ in range(3)]
        assert [await is_served(one) for one in proxied] == [True] * 3
        direct = await connect(keys, port, "127.0.0.1")
        assert await is_served(direct)
        refused = await connect_plain(port, "127.0.0.1")
        await shown_out(refused)
        for _, writer in (*proxied, direct, refused):
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()


@pytest.mark.parametrize(
    ("peer", "headers", "seen"),
    [
        ("10.1.0.7", ["192.0.2.7"], "192.0.2.7"),
        ("::ffff:10.1.0.7", ["2001:db8::7"], "2001:db8::7"),
        ("10.1.0.7", ["203.0.113.1, 192.0.2.7"], "192.0.2.7"),  # what the client wrote itself, then what the proxy saw
        ("10.1.0.7", ["203.0.113.1", "192.0.2.7, 10.1.0.8"], "192.0.2.7"),  # two proxies of ours
        ("10.1.0.7", [], "10.1.0.7"),
        ("192.0.2.9", ["203.0.113.1"], "192.0.2.9"),  # nobody's proxy
    ],
)
async def test_the_clients_address_is_what_a_trusted_proxy_tells(keys, tmp_path, peer, headers, seen):
    told = []

    async def app(scope, receive, send) -> None:
        told.append(scope["client"][0])

    settings = IntakeSettings.from_pki(keys.folder, tmp_path, trusted_proxies=["10.1.0.0/16"])
    fields = [(b"x-forwarded-for", one.encode()) for one in headers]
    await seen_through(app, settings)({"type": "http", "client": (peer, 5), "headers": fields}, None, None)
    assert told == [seen]
    assert is_within(peer, settings.trusted_proxies) == ("10.1" in peer)
    assert seen_through(app, IntakeSettings.from_pki(keys.folder, tmp_path)) is app
