"""What a process tells Prometheus: names, few labels, nothing of a booth or a request; the plain listener takes GET /metrics and nothing else."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

from server.errors import ListenError, StorageUnavailableError
from server.metrics import Metrics, open_metrics
from tests.intake_rig import problem, running
from tests.sealed_packets import Keys, digest

DEADLINE_S = 10.0


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("metrics-keys") / "pki")


def value(text: str, line: str) -> float:
    """The number after a name with its labels."""
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    assert found, f"no {line} in\n{text}"
    return float(found[1])


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            writer.write(request)
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_an_intake_counts_its_work_and_names_nobody(keys, tmp_path):
    packet = keys.packet({"visit.json": b"{}"})
    async with running(keys, tmp_path / "data") as intake:
        assert (await intake.put(packet)).status_code == 201
        assert (await intake.put(packet)).status_code == 200
        problem(await intake.client.get("/v1/secrets/A1234567"), 404, "request.unknown_path")
        problem(await intake.client.request("BREW", f"/v1/packets/{digest(packet)}"), 405, "request.method")
        text = (await intake.rooms.metrics.text()).decode()
    route = "/v1/packets/{sha256}"
    assert value(text, f'passbooth_requests_total{{method="PUT",route="{route}",status="201"}}') == 1
    assert value(text, f'passbooth_request_seconds_count{{route="{route}"}}') == 3
    assert value(text, 'passbooth_requests_total{method="GET",route="?",status="404"}') == 1
    assert value(text, f'passbooth_requests_total{{method="other",route="{route}",status="405"}}') == 1
    assert value(text, 'passbooth_refusals_total{code="request.unknown_path"}') == 1
    assert value(text, 'passbooth_packets_total{outcome="stored"}') == 1
    assert value(text, 'passbooth_packets_total{outcome="known"}') == 1
    assert value(text, "passbooth_packet_bytes_total") == len(packet)
    assert value(text, "passbooth_uploads_under_way") == 0
    assert value(text, "passbooth_commit_packets_sum") == 1
    for told in (digest(packet), digest(packet)[:12], "booth-0001", "A1234567", "BREW"):
        assert told not in text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert all(name.startswith("passbooth_") for name in names)


async def test_the_listener_takes_one_question_and_is_gone_with_its_block(no_tasks_left):
    metrics = Metrics()
    async with open_metrics(metrics, 0) as port:
        answer = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
        assert b"\npassbooth_connections 0.0\n" in answer
        assert (await ask(port, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        assert (await ask(port, b"GET /etc/passwd HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert await ask(port, b"\x16\x03\x01" * 4000) == b"", "no question within the limit"
        with pytest.raises(ListenError, match="metrics"):
            async with open_metrics(metrics, port):
                pass
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    async with open_metrics(metrics, None) as port:
        assert port is None


async def test_gauges_are_brought_up_to_date_when_somebody_asks_and_one_that_fails_hides_no_other():
    metrics = Metrics()

    async def broken() -> None:
        raise StorageUnavailableError

    async def fresh() -> None:
        metrics.uploads.set(7)

    metrics.asked += [broken, fresh]
    text = (await metrics.text()).decode()
    assert value(text, "passbooth_uploads_under_way") == 7
    assert value(text, "passbooth_failed_gauges_total") == 1
