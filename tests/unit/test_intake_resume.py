"""Uploads that go on where they were interrupted: what the intake keeps, whom it shows it, and what it lets become a packet."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

import httpx2
import pytest

from crypto.http_signature import sign_request
from crypto.receipt import verify_receipt
from server.config import IntakeSettings
from server.errors import StorageUnavailableError
from server.packet_counts import count_packets
from tests.intake_rig import BASE, problem, running
from tests.sealed_packets import Keys, digest


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("resume-keys") / "pki")


@pytest.fixture(scope="session")
def packet(keys) -> bytes:
    return keys.packet(padding=1_200_000)


@pytest.fixture
async def intake(keys, tmp_path):
    async with running(keys, tmp_path / "data") as started:
        yield started


async def begin(intake, packet, size):
    """The first `size` bytes of a packet."""
    return await intake.upload("PUT", digest(packet), packet[:size], complete=False, length=len(packet))


async def head(intake, packet):
    return await intake.get(f"/v1/packets/{digest(packet)}", "HEAD")


def cut(method, sha256, body, sent, keys, **fields):
    """A request whose connection ends after `sent` bytes of its body: what the ASGI application sees."""
    url = f"{BASE}/v1/packets/{sha256}"
    headers = {
        "content-type": "application/partial-upload" if method == "PATCH" else "application/vnd.passbooth.packet"
    }
    headers |= fields
    headers |= sign_request(method, url, headers, body, keys.signer)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": f"/v1/packets/{sha256}",
        "raw_path": f"/v1/packets/{sha256}".encode(),
        "root_path": "",
        "query_string": b"",
        "server": ("intake.test", 443),
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"intake.test"), *((n.lower().encode(), v.encode()) for n, v in headers.items())],
    }
    messages = [{"type": "http.request", "body": body[:sent], "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        del message

    return scope, receive, send


def upload_fields(answer):
    return tuple(answer.headers.get(f"upload-{name}") for name in ("complete", "offset", "length"))


async def test_a_whole_packet_in_one_resumable_request_gets_its_receipt(intake, keys, packet):
    answer = await intake.upload("PUT", digest(packet), packet, complete=True)
    assert answer.status_code == 201
    assert answer.headers["upload-complete"] == "?1"
    verify_receipt(answer.content, keys.trust, digest(packet))
    assert await intake.rooms.objects.packets.read(digest(packet)) == packet
    assert intake.files() == [digest(packet)]


async def test_pieces_become_a_packet(intake, keys, packet):
    first = await begin(intake, packet, 500_000)
    assert (first.status_code, first.headers["upload-complete"], first.headers["upload-offset"]) == (
        201,
        "?0",
        "500000",
    )
    asked = await head(intake, packet)
    assert asked.status_code == 204
    assert (asked.headers["upload-complete"], asked.headers["upload-offset"]) == ("?0", "500000")
    assert asked.headers["upload-length"] == str(len(packet))
    assert asked.headers["cache-control"] == "no-store"
    assert "max-age=259200" in asked.headers["upload-limit"]
    more = await intake.upload("PATCH", digest(packet), packet[500_000:600_000], complete=False, offset=500_000)
    assert (more.status_code, more.headers["upload-offset"]) == (204, "600000")
    last = await intake.upload("PATCH", digest(packet), packet[600_000:], complete=True, offset=600_000)
    assert (last.status_code, last.headers["upload-complete"]) == (201, "?1")
    receipt = verify_receipt(last.content, keys.trust, digest(packet))
    assert receipt.position == 0
    assert await intake.rooms.objects.packets.read(digest(packet)) == packet
    assert intake.files() == [digest(packet)]
    whole = await head(intake, packet)
    assert (whole.status_code, whole.headers["upload-complete"]) == (200, "?1")
    assert whole.headers["upload-offset"] == whole.headers["upload-length"] == str(len(packet))


@pytest.mark.parametrize("sent", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
async def test_a_connection_that_ends_leaves_what_came(intake, keys, packet, sent):
    await intake.app(*cut("PUT", digest(packet), packet, sent, keys, **{"upload-complete": "?1"}))
    assert (await head(intake, packet)).headers["upload-offset"] == str(sent)
    rest = packet[sent:]
    half = len(rest) // 2
    sized = {"upload-complete": "?1", "upload-offset": str(sent)}
    await intake.app(*cut("PATCH", digest(packet), rest, half, keys, **sized))
    assert (await head(intake, packet)).headers["upload-offset"] == str(sent + half)
    last = await intake.upload("PATCH", digest(packet), rest[half:], complete=True, offset=sent + half)
    assert last.status_code == 201
    assert await intake.rooms.objects.packets.read(digest(packet)) == packet


async def test_a_plain_upload_that_is_cut_leaves_nothing(intake, keys, packet):
    await intake.app(*cut("PUT", digest(packet), packet, 500_000, keys))
    assert (await head(intake, packet)).status_code == 404
    assert intake.files() == []


@pytest.mark.parametrize("offset", [0, 499_999, 500_001, 1_000_000])
async def test_another_offset_is_a_conflict_that_tells_the_right_one(intake, packet, offset):
    await begin(intake, packet, 500_000)
    answer = await intake.upload("PATCH", digest(packet), b"x", complete=False, offset=offset)
    problem(answer, 409, "upload.offset")
    assert answer.headers["upload-offset"] == "500000"
    assert (await head(intake, packet)).headers["upload-offset"] == "500000"


async def test_lengths_must_agree(intake, packet):
    sha256, size = digest(packet), len(packet)
    problem(await intake.upload("PUT", sha256, packet[:9], complete=False), 400, "upload.length")
    problem(await intake.upload("PUT", sha256, packet, complete=True, length=size + 1), 400, "upload.length")
    problem(await intake.upload("PUT", sha256, packet[:9], complete=False, length=8), 400, "upload.length")
    problem(await intake.upload("PUT", sha256, packet[:9], complete=False, length=10**9), 413, "packet.too_large")
    await begin(intake, packet, 100)
    for body, fields in (
        (packet[100:], {"complete": True, "offset": 100, "length": size + 1}),
        (packet[100:-1], {"complete": True, "offset": 100}),
        (packet[100:] + b"x", {"complete": False, "offset": 100}),
    ):
        problem(await intake.upload("PATCH", sha256, body, **fields), 400, "upload.length")
    assert int((await head(intake, packet)).headers["upload-offset"]) <= size


async def test_a_patch_needs_its_headers_and_something_to_go_on_with(intake, packet):
    sha256 = digest(packet)
    problem(await intake.upload("PATCH", sha256, b"x", complete=True), 400, "request.malformed")
    problem(await intake.upload("PATCH", sha256, b"x", offset=0), 400, "request.malformed")
    problem(await intake.upload("PATCH", sha256, b"x", complete=True, offset="0x1"), 400, "request.malformed")
    problem(await intake.upload("PATCH", sha256, b"x", complete=True, offset=0), 404, "packet.unknown")


async def test_what_does_not_have_the_digest_is_no_packet_and_is_dropped(intake, packet):
    sha256 = digest(packet)
    wrong = b"\0" * 1_000 + packet[1_000:]
    await intake.upload("PUT", sha256, wrong[:500_000], complete=False, length=len(packet))
    last = await intake.upload("PATCH", sha256, wrong[500_000:], complete=True, offset=500_000)
    assert problem(last, 422, "packet.digest_mismatch")["retry"] is True
    assert upload_fields(last) == ("?1", str(len(packet)), str(len(packet))), "all came: resuming changes nothing"
    assert intake.files() == []
    assert (await intake.upload("PUT", sha256, packet, complete=True)).status_code == 201


async def test_content_that_was_not_signed_moves_no_offset(intake, keys, packet):
    await begin(intake, packet, 500_000)
    url = f"{BASE}/v1/packets/{digest(packet)}"
    sent = {"Content-Type": "application/partial-upload", "Upload-Complete": "?0", "Upload-Offset": "500000"}
    signed = sent | sign_request("PATCH", url, sent, packet[500_000:600_000], keys.signer)
    answer = await intake.client.patch(url, content=b"x" * 100_000, headers=signed)
    problem(answer, 422, "packet.digest_mismatch")
    assert upload_fields(answer) == ("?0", "500000", str(len(packet)))
    assert (await head(intake, packet)).headers["upload-offset"] == "500000"


async def test_bytes_that_are_no_packet_leave_nothing(intake):
    junk = b"junk" * 1_000
    await intake.upload("PUT", digest(junk), junk[:100], complete=False, length=len(junk))
    answer = await intake.upload("PATCH", digest(junk), junk[100:], complete=True, offset=100)
    problem(answer, 422, "packet.unreadable")
    assert upload_fields(answer) == ("?1", "4000", "4000")
    assert intake.files() == []


async def test_a_request_counts_once(intake, keys, packet):
    url = f"{BASE}/v1/packets/{digest(packet)}"
    sent = {
        "Content-Type": "application/vnd.passbooth.packet",
        "Upload-Complete": "?0",
        "Upload-Length": str(len(packet)),
    }
    signed = sent | sign_request("PUT", url, sent, packet[:100], keys.signer)
    assert (await intake.client.put(url, content=packet[:100], headers=signed)).status_code == 201
    problem(await intake.client.put(url, content=packet[:100], headers=signed), 401, "signature.replayed")
    asked = keys.headers("HEAD", url)
    assert (await intake.client.head(url, headers=asked)).status_code == 204
    assert (await intake.client.head(url, headers=asked)).status_code == 401


async def test_offset_and_completeness_are_signed(intake, keys, packet):
    await begin(intake, packet, 500_000)
    url = f"{BASE}/v1/packets/{digest(packet)}"
    sent = {"Content-Type": "application/partial-upload", "Upload-Complete": "?0", "Upload-Offset": "500000"}
    signed = sent | sign_request("PATCH", url, sent, packet[500_000:], keys.signer)
    changed = {**signed, "Upload-Complete": "?1"}
    problem(await intake.client.patch(url, content=packet[500_000:], headers=changed), 401, "signature.invalid")


async def test_a_partial_is_its_booths_alone(intake, packet):
    await begin(intake, packet, 500_000)
    hidden = intake.intake.uploads.partials
    assert (await hidden.find("booth-0001", digest(packet))).offset == 500_000
    assert await hidden.find("booth-0002", digest(packet)) is None
    assert await hidden.find("../booth-0001", digest(packet)) is None


async def test_of_two_resumes_at_once_one_writes_and_the_packet_is_whole(intake, packet):
    await begin(intake, packet, 500_000)
    answers = await asyncio.gather(
        *(intake.upload("PATCH", digest(packet), packet[500_000:], complete=True, offset=500_000) for _ in range(4))
    )
    codes = [answer.status_code for answer in answers]
    # One writes. Whoever comes while it does is told to wait, after it that the packet is here or the partial is gone.
    assert codes.count(201) == 1
    assert set(codes) <= {200, 201, 404, 503}
    assert await intake.rooms.objects.packets.read(digest(packet)) == packet
    assert await count_packets(intake.rooms.store) == 1
    assert intake.files() == [digest(packet)]


async def test_a_booth_has_so_many_uploads_at_once(keys, packet, tmp_path):
    async with running(keys, tmp_path / "data", max_uploads_per_booth=1) as intake:
        begun, release = asyncio.Event(), asyncio.Event()
        scope, _, send = cut("PUT", digest(packet), packet, 0, keys)

        async def receive():
            begun.set()
            await release.wait()
            return {"type": "http.request", "body": packet}

        one = asyncio.create_task(intake.app(scope, receive, send))
        await begun.wait()
        refused = await intake.put(keys.packet())
        assert problem(refused, 429, "booth.busy")["retry"] is True
        assert refused.headers["retry-after"] == "5"
        release.set()
        await one
        assert (await head(intake, packet)).status_code == 200
        assert (await intake.put(keys.packet())).status_code == 201


async def test_a_commit_that_fails_is_tried_again_with_nothing_to_send(intake, keys, packet, monkeypatch):
    async def fail(*_):
        raise StorageUnavailableError

    with monkeypatch.context() as patch:
        patch.setattr(intake.rooms.receipts, "append", fail)
        answer = await intake.upload("PUT", digest(packet), packet, complete=True)
    problem(answer, 503, "storage.unavailable")
    assert upload_fields(answer) == ("?0", str(len(packet)), str(len(packet))), "it can be completed there"
    asked = await head(intake, packet)
    assert (asked.status_code, asked.headers["upload-offset"]) == (204, str(len(packet)))
    answer = await intake.upload("PATCH", digest(packet), b"", complete=True, offset=len(packet))
    assert answer.status_code == 201
    verify_receipt(answer.content, keys.trust, digest(packet))
    assert intake.files() == [digest(packet)]


async def test_a_new_beginning_never_touches_a_packet_that_shares_its_file(intake, packet, monkeypatch):
    async def fail(*_):
        raise StorageUnavailableError

    with monkeypatch.context() as patch:
        patch.setattr(intake.rooms.receipts, "append", fail)
        await intake.upload("PUT", digest(packet), packet, complete=True)
    assert await intake.rooms.objects.packets.read(digest(packet)) == packet
    await begin(intake, packet, 10)
    assert await intake.rooms.objects.packets.read(digest(packet)) == packet
    answer = await intake.upload("PATCH", digest(packet), packet[10:], complete=True, offset=10)
    assert answer.status_code == 201
    assert await intake.rooms.objects.packets.read(digest(packet)) == packet


async def test_a_packet_that_is_here_gets_its_receipt_again_however_it_is_sent(intake, packet):
    first = await intake.put(packet)
    for answer in (
        await intake.upload("PUT", digest(packet), packet, complete=True),
        await intake.upload("PATCH", digest(packet), packet[5:], complete=True, offset=5),
    ):
        assert (answer.status_code, answer.content) == (200, first.content)
    assert intake.files() == [digest(packet)]


async def test_a_booths_oldest_partials_give_way(keys, tmp_path):
    packets = [keys.packet() for _ in range(4)]
    async with running(keys, tmp_path / "data", partials_per_booth=2) as intake:
        for age, one in enumerate(packets):
            await begin(intake, one, 1_000)
            for path in (tmp_path / "data" / "objects" / "partial").glob(f"*/{digest(one)}-*"):
                os.utime(path, (1_000_000 + age, 1_000_000 + age))
        assert [(await head(intake, one)).status_code for one in packets] == [404, 404, 204, 204]
    size = len(packets[0])
    async with running(keys, tmp_path / "data", partial_bytes_per_booth=size + 500) as intake:
        await begin(intake, packets[0], 1_000)
        assert [(await head(intake, one)).status_code for one in packets] == [204, 404, 404, 404]


async def test_old_partials_and_too_many_bytes_are_swept(keys, tmp_path):
    one, two = keys.packet(), keys.packet()
    async with running(keys, tmp_path / "data", partial_bytes=1_500) as intake:
        await begin(intake, one, 1_000)
        partials = intake.intake.uploads.partials
        assert await partials.sweep() == 0
        for path in (tmp_path / "data" / "objects" / "partial").glob("*/*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        assert await partials.sweep() == 1
        await begin(intake, one, 1_000)
        await begin(intake, two, 1_000)
        assert await partials.sweep() == 1
        assert sorted([(await head(intake, p)).status_code for p in (one, two)]) == [204, 404]


async def test_a_partial_that_is_being_written_is_not_swept(keys, packet, tmp_path):
    async with running(keys, tmp_path / "data", partial_kept_s=timedelta(microseconds=1).total_seconds()) as intake:
        partials = intake.intake.uploads.partials
        async with partials.append("booth-0001", digest(packet), None, len(packet)) as open_one:
            await open_one.write(packet[:100])
            assert await partials.sweep() == 0
        assert await partials.sweep() == 1


@pytest.mark.parametrize(
    ("blocked", "version", "refused"),
    [
        ({}, None, False),
        ({"<0.1.5": "Update to 0.1.5."}, "0.1.4", True),
        ({"<0.1.5": "Update to 0.1.5."}, "0.1.5", False),
        ({"0.2": "Update."}, "0.2.0", True),
        ({">=0.3, <0.3.2": "Update."}, "0.3.1rc1", True),
        ({">=0.3, <0.3.2": "Update."}, "0.3.2", False),
        ({"<0.1.5": "Update."}, None, True),
        ({"<0.1.5": "Update."}, "unknown", True),
    ],
)
async def test_blocked_software_is_refused_before_the_upload_with_the_reason(keys, tmp_path, blocked, version, refused):
    one = keys.packet()
    url = f"{BASE}/v1/packets/{digest(one)}"
    told = {} if version is None else {"Booth-Software": version}
    sent = {"Content-Type": "application/vnd.passbooth.packet"} | told
    read = []

    async def body():
        read.append(True)
        yield one

    async with running(keys, tmp_path / "data", blocked_software=blocked) as intake:
        signed = sent | sign_request("PUT", url, sent, one, keys.signer)
        answer = await intake.client.put(url, content=body(), headers=signed)
        if not refused:
            assert answer.status_code == 201
            return
        refusal = problem(answer, 403, "booth.software_blocked")
        assert refusal["retry"] is False
        assert version in {None, "unknown"} or "Update" in refusal["detail"]
        asked = told | sign_request("HEAD", url, told, b"", keys.signer)
        assert (await intake.client.head(url, headers=asked)).status_code == 403
        assert intake.files() == []


def test_a_range_that_is_none_is_refused_at_the_start(keys, tmp_path):
    with pytest.raises(ValueError, match="comparison"):
        IntakeSettings.from_pki(keys.folder, tmp_path, blocked_software={"~=1.0": "no"})


async def test_hostile_upload_headers_are_answered_with_problems(intake, packet):
    for name, value in (
        ("Upload-Offset", "-1"),
        ("Upload-Offset", "9" * 400),
        ("Upload-Length", "1.5"),
        ("Upload-Complete", "?2"),
    ):
        url = f"{BASE}/v1/packets/{digest(packet)}"
        sent = {"Content-Type": "application/partial-upload", "Upload-Complete": "?1", "Upload-Offset": "0"} | {
            name: value
        }
        signed = sent | sign_request("PATCH", url, sent, b"x", intake.keys.signer)
        answer = await intake.client.patch(url, content=b"x", headers=signed)
        assert isinstance(answer, httpx2.Response)
        assert answer.status_code in {400, 404}
