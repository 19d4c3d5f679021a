"""Two hundred packets through every trouble that a line can have: each arrives exactly once, none is lost, none is believed too early."""

from __future__ import annotations

import hashlib
import random

import httpx2
import pytest

from booth.outbox import PacketState
from tests.network_rig import (
    DOWN,
    FAIR,
    MUTE,
    Line,
    check_delivered_once,
    cutting,
    delivering,
    pretending,
    serving,
)
from tests.sealed_packets import Keys

PACKETS, LARGE = 200, 6
CUT_BELOW = 200_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("network") / "pki")


@pytest.fixture(scope="module")
def packets(keys) -> list[bytes]:
    """Small ones, and a few that are sent in pieces."""
    tiny = {"report.json": b"{}", "visit.json": b"{}", "portrait.jpg": b"x" * 2_000}
    large = [keys.packet(padding=1_100_000 + 200_000 * number) for number in range(LARGE)]
    return [*large, *(keys.packet(parts=tiny) for _ in range(PACKETS - LARGE))]


def put(booth, packets):
    for packet in packets:
        booth.outbox.put(packet, "id")
    booth.uplink.wake()


def digests_of(packets):
    return [hashlib.sha256(packet).hexdigest() for packet in packets]


def nothing_lost(booth):
    """Every packet waits whole, or has its receipt."""
    for entry in booth.outbox.entries():
        assert entry.state in {PacketState.WAITING, PacketState.RECEIPTED}
        if entry.state is PacketState.WAITING:
            assert hashlib.sha256(booth.outbox.read(entry.sha256)).hexdigest() == entry.sha256


async def refuse(_request, _beneath):
    return httpx2.Response(503, headers={"retry-after": "0"})


async def fail_before(_request, _beneath):
    return httpx2.Response(502, text="<html>bad gateway</html>")


async def fail_after(request, beneath):
    """The intake took it, and its answer is lost."""
    answer = await beneath.handle_async_request(request)
    await answer.aread()
    await answer.aclose()
    return httpx2.Response(500, text="oops")


async def false_receipt(_request, _beneath):
    return httpx2.Response(201, content=b'{"version":2}', headers={"upload-complete": "?1"})


class Replay:
    """Answers everything with the receipt of another packet, which is a real one."""

    def __init__(self, receipt: bytes) -> None:
        self._receipt = receipt

    async def __call__(self, request, _beneath):
        if request.method == "HEAD":
            return httpx2.Response(200, headers={"upload-complete": "?1"})
        return httpx2.Response(201, content=self._receipt)


async def test_two_hundred_packets_through_all_weathers(keys, packets, tmp_path):
    first, then, last = packets[50:], packets[:10], packets[10:50]
    async with serving(keys.folder, tmp_path / "data") as (port, _), Line(port) as line:
        line.weather = lambda: DOWN
        async with delivering(tmp_path / "outbox", keys.folder, line.url, 1.0) as booth:
            put(booth, first)
            await line.after(5)
            nothing_lost(booth)
            for change in (refuse, fail_before, false_receipt, fail_after):
                line.weather, booth.answers.change = (lambda: FAIR), change
                await booth.answers.after(12)
                nothing_lost(booth)
                assert booth.outbox.status.waiting == len(first)
        # The booth starts again, on a line that breaks at any byte of either direction.
        line.weather = cutting(random.Random(5), CUT_BELOW)
        async with delivering(tmp_path / "outbox", keys.folder, line.url, 1.0) as booth:
            put(booth, then)
            await line.after(8)
            nothing_lost(booth)
            line.weather = lambda: FAIR
            await booth.all_delivered()
            line.weather = lambda: MUTE
            line.hang_up()
            put(booth, last)
            await line.after(2)
            nothing_lost(booth)
            assert booth.outbox.status.waiting == len(last)
            line.weather = lambda: FAIR
            booth.answers.change = Replay(booth.outbox.receipt(digests_of(first)[0]))
            await booth.answers.after(12)
            nothing_lost(booth)
            assert booth.outbox.status.waiting == len(last)
            booth.answers.change = None
            await booth.all_delivered()
            check_delivered_once(booth.outbox, keys.folder, tmp_path / "data", digests_of(packets))


@pytest.mark.parametrize(
    ("case", "words"), [("wrong host", "mismatch"), ("expired", "expired"), ("untrusted", "signature failure")]
)
async def test_nothing_is_told_to_somebody_in_the_intakes_place(keys, packets, tmp_path, case, words):
    async with (
        serving(keys.folder, tmp_path / "data") as (port, _),
        pretending(tmp_path, keys.folder, case) as (false_port, heard),
        Line(false_port) as line,
        delivering(tmp_path / "outbox", keys.folder, line.url) as booth,
    ):
        put(booth, packets[-5:])
        await line.after(3)
        assert not any(heard)
        assert booth.outbox.status.waiting == 5
        assert words in (booth.uplink.status.last_error or "").lower()
        line.target = port
        await booth.all_delivered()
        check_delivered_once(booth.outbox, keys.folder, tmp_path / "data", digests_of(packets[-5:]))


async def test_kills_of_the_intake_and_ends_of_the_booth_in_the_middle_of_uploads(keys, tmp_path):
    chance, packets = random.Random(9), [keys.packet(padding=1_500_000) for _ in range(4)]
    async with Line(1) as line:
        for turn in range(3):
            async with serving(keys.folder, tmp_path / "data") as (port, process):
                line.target, line.weather = port, cutting(chance, 1_000_000)
                async with delivering(tmp_path / "outbox", keys.folder, line.url) as booth:
                    put(booth, packets if turn == 0 else ())
                    if turn < 2:
                        await line.after(3)
                        if turn == 0:
                            process.kill()
                            await line.after(2)
                        nothing_lost(booth)
                        continue
                    line.weather = lambda: FAIR
                    await booth.all_delivered()
                    check_delivered_once(booth.outbox, keys.folder, tmp_path / "data", digests_of(packets))


async def test_a_line_that_keeps_breaking_wastes_little(keys, tmp_path):
    packets = [keys.packet(padding=size) for size in (1_000_000, 2_500_000, 4_000_000)]
    async with serving(keys.folder, tmp_path / "data") as (port, _), Line(port, 12_500_000) as line:
        line.weather = cutting(random.Random(3), 2_000_000)
        async with delivering(tmp_path / "outbox", keys.folder, line.url) as booth:
            put(booth, packets)
            await booth.all_delivered()
            check_delivered_once(booth.outbox, keys.folder, tmp_path / "data", digests_of(packets))
        assert line.cuts >= 3
        assert line.up_bytes / sum(map(len, packets)) - 1 <= 0.10
