"""The intake's answers, one refusal after the other, and what is on the disk afterwards."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from crypto.keys import open_signer
from crypto.merkle import verify_consistency
from crypto.receipt import verify_receipt
from crypto.tree_head import verify_tree_head
from server.errors import StorageFullError, StorageUnavailableError
from server.packet_counts import count_packets
from server.store import packets
from tests.intake_rig import BASE, problem, running
from tests.sealed_packets import Keys, digest


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("intake-keys") / "pki")


@pytest.fixture(scope="session")
def other_booth(tmp_path_factory) -> Keys:
    """Keys of another authority."""
    return Keys(tmp_path_factory.mktemp("stranger") / "pki")


@pytest.fixture(scope="session")
def packet(keys) -> bytes:
    return keys.packet()


@pytest.fixture
async def intake(keys, tmp_path):
    async with running(keys, tmp_path / "data", max_uploads_per_booth=32) as started:
        yield started


async def test_a_new_packet_gets_a_receipt_that_verifies_and_its_bytes_are_kept(intake, keys, packet):
    answer = await intake.put(packet)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/vnd.passbooth.receipt"
    assert answer.headers["location"] == f"/v1/packets/{digest(packet)}"
    receipt = verify_receipt(answer.content, keys.trust, digest(packet))
    assert (receipt.position, receipt.tree_size) == (0, 1)
    assert receipt.intake == "intake-development"
    assert await intake.rooms.objects.packets.read(digest(packet)) == packet
    stored = await intake.rooms.store.find(digest(packet))
    assert (stored.booth, stored.packet_id, stored.size) == ("booth-0001", receipt.packet_id, len(packet))


async def test_the_same_packet_again_gets_the_same_receipt(intake, packet):
    first = await intake.put(packet)
    again = await intake.put(packet)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.content == first.content
    receipt = await intake.get(f"/v1/packets/{digest(packet)}/receipt")
    assert receipt.content == first.content
    assert await count_packets(intake.rooms.store) == 1


async def test_twenty_copies_at_once_are_one_packet_with_one_receipt(intake, packet):
    answers = await asyncio.gather(*(intake.put(packet) for _ in range(20)))
    assert sorted(a.status_code for a in answers) == [200] * 19 + [201]
    assert len({a.content for a in answers}) == 1
    assert intake.files() == [digest(packet)]


async def test_bytes_without_a_row_are_adopted_and_a_row_without_bytes_is_healed(intake, packet):
    async with intake.rooms.objects.packets.writer() as writer:
        await writer.write(packet)
        await writer.keep(digest(packet))
    first = await intake.put(packet)
    assert first.status_code == 201
    intake.rooms.objects.packets.path_of(digest(packet)).unlink()
    again = await intake.put(packet)
    assert again.content == first.content
    assert await intake.rooms.objects.packets.read(digest(packet)) == packet


async def test_a_crash_after_the_bytes_and_before_the_row_leaves_an_upload_that_can_be_repeated(
    intake, packet, monkeypatch
):
    async def die(*args):
        raise StorageUnavailableError

    monkeypatch.setattr(intake.rooms.receipts, "append", die)
    problem(await intake.put(packet), 503, "storage.unavailable")
    assert intake.files() == [digest(packet)]
    monkeypatch.undo()
    assert (await intake.put(packet)).status_code == 201


async def test_head_tells_what_is_stored_and_what_is_not(intake, packet):
    missing = await intake.get(f"/v1/packets/{digest(packet)}", "HEAD")
    assert missing.status_code == 404
    await intake.put(packet)
    there = await intake.get(f"/v1/packets/{digest(packet)}", "HEAD")
    assert (there.status_code, there.content) == (200, b"")
    problem(await intake.get(f"/v1/packets/{'0' * 64}/receipt"), 404, "packet.unknown")


async def test_what_is_unsigned_or_wrongly_signed_is_refused_before_anything_is_kept(intake, keys, other_booth, packet):
    url = f"{BASE}/v1/packets/{digest(packet)}"
    kind = {"Content-Type": "application/vnd.passbooth.packet"}
    problem(await intake.put(packet, headers=kind), 401, "signature.missing")
    problem(await intake.put(packet, headers=other_booth.headers("PUT", url, packet)), 401, "signature.invalid")
    elsewhere = keys.headers("PUT", f"https://other.test/v1/packets/{digest(packet)}", packet)
    problem(await intake.put(packet, headers=elsewhere), 401, "signature.invalid")
    garbled = keys.headers("PUT", url, packet) | {"Signature": "booth=:AAAA:"}
    problem(await intake.put(packet, headers=garbled), 401, "signature.invalid")
    no_certificate = keys.headers("PUT", url, packet)
    del no_certificate["Booth-Certificate"]
    problem(await intake.put(packet, headers=no_certificate), 401, "signature.invalid")
    problem(await intake.client.get(f"{url}/receipt"), 401, "signature.missing")
    assert intake.files() == []
    assert await count_packets(intake.rooms.store) == 0


async def test_an_intakes_key_cannot_send_packets(intake, keys, packet):
    impostor = replace_signer(keys, "intake.key")
    url = f"{BASE}/v1/packets/{digest(packet)}"
    problem(await intake.put(packet, headers=impostor.headers("PUT", url, packet)), 401, "signature.invalid")


def replace_signer(keys: Keys, name: str) -> Keys:
    other = Keys(keys.folder)
    other.signer = open_signer(f"file:{keys.folder / name}")
    return other


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_a_signature_of_another_time_is_told_as_expired(intake, packet, minutes):
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    body = problem(await intake.put(packet, at=at), 401, "signature.expired")
    assert body["retry"] is True


async def test_a_replayed_request_is_refused_but_a_new_signature_is_not(intake, keys, packet):
    url = f"{BASE}/v1/packets/{digest(packet)}"
    headers = keys.headers("PUT", url, packet)
    assert (await intake.put(packet, headers=headers)).status_code == 201
    problem(await intake.put(packet, headers=headers), 401, "signature.replayed")
    assert (await intake.put(packet)).status_code == 200
    asked = keys.headers("GET", f"{url}/receipt")
    assert (await intake.client.get(f"{url}/receipt", headers=asked)).status_code == 200
    problem(await intake.client.get(f"{url}/receipt", headers=asked), 401, "signature.replayed")


async def test_a_nonce_used_at_the_same_moment_counts_once(intake, keys, packet):
    headers = keys.headers("PUT", f"{BASE}/v1/packets/{digest(packet)}", packet)
    answers = await asyncio.gather(*(intake.put(packet, headers=headers) for _ in range(5)))
    assert sorted(a.status_code for a in answers) == [201, 401, 401, 401, 401]


async def test_bytes_that_are_not_the_announced_ones_are_refused(intake, keys, packet):
    problem(await intake.put(packet, path="0" * 64), 422, "packet.digest_mismatch")
    changed = packet[:-1] + bytes([packet[-1] ^ 1])
    headers = keys.headers("PUT", f"{BASE}/v1/packets/{digest(packet)}", packet)
    problem(await intake.put(changed, path=digest(packet), headers=headers), 422, "packet.digest_mismatch")
    assert intake.files() == []
    assert (await intake.put(packet)).status_code == 201
    headers = keys.headers("PUT", f"{BASE}/v1/packets/{digest(packet)}", packet)
    problem(await intake.put(changed, path=digest(packet), headers=headers), 422, "packet.digest_mismatch")


async def test_a_packet_of_another_booth_is_refused(intake, keys):
    foreign = keys.packet(header_booth="booth-0002")
    problem(await intake.put(foreign), 403, "packet.booth_mismatch")
    assert intake.files() == []


async def test_a_booth_sees_only_its_own_packets(intake, keys, packet, tmp_path):
    await intake.put(packet)
    async with intake.rooms.store.writing() as connection:
        await connection.execute(sa.update(packets).values(booth="booth-0002"))
    problem(await intake.get(f"/v1/packets/{digest(packet)}/receipt"), 404, "packet.unknown")
    problem(await intake.put(packet), 403, "packet.booth_mismatch")


@pytest.mark.parametrize("body", [b"not a packet", b"\x89PBOOTH\r\n\x1a\n\x00\x00\x00\x05{}", b"x"])
async def test_what_is_no_packet_is_refused_although_it_is_signed(intake, body):
    problem(await intake.put(body), 422, "packet.unreadable")
    assert intake.files() == []


async def test_a_wrong_type_a_wrong_address_and_a_missing_length_have_their_own_answers(intake, keys, packet):
    url = f"{BASE}/v1/packets/{digest(packet)}"
    headers = keys.headers("PUT", url, packet)
    wrong = headers | {"Content-Type": "application/octet-stream"}
    problem(await intake.put(packet, headers=wrong), 415, "request.media_type")
    problem(await intake.put(packet, path="ABC"), 400, "request.malformed")
    problem(await intake.put(packet, path=digest(packet).upper()), 400, "request.malformed")

    async def chunks():
        yield packet

    del headers["Content-Length"]
    problem(await intake.client.put(url, content=chunks(), headers=headers), 411, "request.length_required")


async def test_what_is_too_large_is_refused_by_its_announcement_and_by_its_bytes(keys, packet, tmp_path):
    async with running(keys, tmp_path / "data", max_packet_bytes=len(packet) - 1) as intake:
        refused = await intake.put(packet)
        problem(refused, 413, "packet.too_large")
        assert refused.headers["upload-limit"].startswith("max-size=")
        url = f"{BASE}/v1/packets/{digest(packet)}"
        small = keys.headers("PUT", url, packet) | {"Content-Length": "12"}
        problem(await intake.put(packet, headers=small), 401, "signature.invalid")
        assert intake.files() == []


async def test_a_body_that_outgrows_its_announcement_is_cut(keys, tmp_path):
    """h11 holds bodies to their Content-Length; the count stays for servers that do not."""
    body = b"z" * 2000
    async with running(keys, tmp_path / "data", max_packet_bytes=1000) as intake:
        headers = keys.headers("PUT", f"{BASE}/v1/packets/{digest(b'z')}", b"z")
        problem(await intake.put(body, path=digest(b"z"), headers=headers), 413, "packet.too_large")


async def test_a_silent_sender_is_let_go(keys, packet, tmp_path):
    silence = asyncio.Event()

    async def half():
        yield packet[:1000]
        await silence.wait()

    async with running(keys, tmp_path / "data", body_idle_s=0.05) as intake:
        url = f"{BASE}/v1/packets/{digest(packet)}"
        answer = await intake.client.put(url, content=half(), headers=keys.headers("PUT", url, packet))
        assert problem(answer, 408, "request.slow")["retry"] is True
        assert intake.files() == []


async def test_a_trickling_sender_is_let_go(keys, packet, tmp_path):
    async def drops():
        while True:
            yield b"x"
            await asyncio.sleep(0)  # lets the limit strike; no waiting

    async with running(keys, tmp_path / "data", body_total_s=0.1) as intake:
        url = f"{BASE}/v1/packets/{digest(packet)}"
        answer = await intake.client.put(url, content=drops(), headers=keys.headers("PUT", url, packet))
        problem(answer, 408, "request.slow")


async def test_a_sender_that_hangs_up_leaves_no_file(intake, keys, packet):
    path = f"/v1/packets/{digest(packet)}"
    headers = keys.headers("PUT", BASE + path, packet) | {"Host": "intake.test"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "PUT",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    events = [{"type": "http.request", "body": packet[:5000], "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return events.pop(0)

    async def send(message):
        sent.append(message)

    await intake.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["code"] == "request.truncated"
    assert intake.files() == []
    assert (await intake.put(packet)).status_code == 201


async def test_more_uploads_than_places_are_asked_to_come_back(keys, packet, tmp_path):
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly():
        yield packet[:10]
        arrived.set()
        await go_on.wait()
        yield packet[10:]

    async with running(keys, tmp_path / "data", max_uploads=1, retry_after_s=7) as intake:
        url = f"{BASE}/v1/packets/{digest(packet)}"
        first = asyncio.create_task(intake.client.put(url, content=slowly(), headers=keys.headers("PUT", url, packet)))
        await asyncio.wait_for(arrived.wait(), 5)
        refused = await intake.put(packet)
        assert problem(refused, 503, "server.busy")["retry"] is True
        assert refused.headers["retry-after"] == "7"
        go_on.set()
        assert (await first).status_code == 201
        assert (await intake.put(packet)).status_code == 200


async def test_a_full_disk_is_told_with_the_time_to_come_back(intake, packet, monkeypatch):
    async def full(*args):
        raise StorageFullError

    monkeypatch.setattr("server.folder_objects.FolderWriter.keep", full)
    answer = await intake.put(packet)
    problem(answer, 507, "storage.full")
    assert int(answer.headers["retry-after"]) > 0
    assert await count_packets(intake.rooms.store) == 0


async def test_health_is_the_process_and_readiness_is_its_disk(intake, monkeypatch):
    assert (await intake.client.get("/v1/health")).json() == {"status": "ok"}
    assert (await intake.client.get("/v1/ready")).json() == {"status": "ready", "revocation_list": "current"}

    async def broken():
        raise StorageUnavailableError

    async with running(intake.keys, intake.rooms.settings.data_dir) as second:
        monkeypatch.setattr(second.rooms.store, "check", broken)
        answer = await second.client.get("/v1/ready")
        problem(answer, 503, "storage.unavailable")
        assert "retry-after" in answer.headers
        assert (await second.client.get("/v1/health")).status_code == 200


async def test_every_other_address_and_method_is_answered_with_a_problem(intake):
    for path in ("/", "/v1", "/v1/packets", "/docs", "/v2/health", "/v1/packets/../../etc/passwd"):
        problem(await intake.client.get(path), 404, "request.unknown_path")
    for method in ("POST", "DELETE"):
        answer = await intake.client.request(method, f"/v1/packets/{'0' * 64}")
        problem(answer, 405, "request.method")
        assert "PUT" in answer.headers["allow"]


async def test_nothing_of_a_request_is_repeated(intake, packet):
    marker = "Zanzibar"
    for answer in (
        await intake.client.get(f"/{marker}?{marker}={marker}", headers={"X-A": marker}),
        await intake.client.put(f"/v1/packets/{marker}", content=marker, headers={"Content-Type": marker}),
        await intake.client.request(marker.upper(), "/v1/health"),
    ):
        assert marker.lower() not in (answer.text + str(answer.headers)).lower()


async def test_an_unexpected_failure_is_a_problem_too_and_its_text_stays_inside(intake, packet, monkeypatch, caplog):
    def fail():
        raise RuntimeError("Anna Muster, A1234567")

    monkeypatch.setattr(intake.rooms.store, "reading", fail)
    answer = await intake.put(packet)
    problem(answer, 500, "server")
    assert "Anna" not in answer.text
    from server.logs import JsonFormatter

    lines = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("server")]
    assert any("RuntimeError" in line for line in lines)
    assert not any("Anna" in line for line in lines)


async def test_the_address_that_booths_sign_can_be_the_proxys(keys, packet, tmp_path):
    async with running(keys, tmp_path / "data", public_url="https://intake.example.org/") as intake:
        path = f"/v1/packets/{digest(packet)}"
        headers = keys.headers("PUT", f"https://intake.example.org{path}", packet)
        assert (await intake.put(packet, headers=headers)).status_code == 201
        problem(await intake.put(packet), 401, "signature.invalid")


async def test_the_description_of_the_interface_is_served(intake):
    described = (await intake.client.get("/v1/openapi.json")).json()
    assert set(described["paths"]) == {
        "/v1/packets/{sha256}",
        "/v1/packets/{sha256}/receipt",
        "/v1/enrolments",
        "/v1/certificates",
        "/v1/applications/lookup",
        "/v1/heartbeats",
        "/v1/booth-orders",
        "/v1/booth-orders/{order}/answer",
        "/v1/booth-orders/{order}/bundle",
        "/v1/centres",
        "/v1/crl",
        "/status/v1/lookup",
        "/v1/staff",
        "/v1/orders",
        "/v1/orders/{order}",
        "/v1/orders/{order}/answer",
        "/v1/orders/{order}/resend",
        "/v1/log/head",
        "/v1/log/consistency",
        "/v1/health",
        "/v1/ready",
    }


async def test_the_log_is_open_to_anybody_and_proves_that_it_only_grows(intake, keys):
    first, second = keys.packet(), keys.packet()
    empty = verify_tree_head((await intake.client.get("/v1/log/head")).content, keys.trust)
    assert empty.size == 0
    receipts = [verify_receipt((await intake.put(one)).content, keys.trust, digest(one)) for one in (first, second)]
    answer = await intake.client.get("/v1/log/head")
    assert answer.headers["content-type"] == "application/vnd.passbooth.tree-head"
    head = verify_tree_head(answer.content, keys.trust)
    assert (head.size, head.log) == (2, empty.log)
    assert answer.content == receipts[1].signed_head
    told = await intake.client.get("/v1/log/consistency", params={"first": 1, "second": 2})
    proof = [bytes.fromhex(one) for one in told.json()["proof"]]
    verify_consistency(1, 2, bytes.fromhex(receipts[0].root_hash), head.root, proof)
    for bad in ({"first": 0, "second": 1}, {"first": 2, "second": 3}, {"first": "x", "second": 2}, {"first": 1}, {}):
        problem(await intake.client.get("/v1/log/consistency", params=bad), 400, "request.malformed")
