"""What booths ask and tell about applications: the lookup's answers, the headers of uploads, and that no number leaves a trace."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from crypto.application import application_digest, check_character, grouped_number
from crypto.http_signature import sign_request
from crypto.status_token import make_status_token, status_digest
from server.application_routes import LOOKUPS
from server.application_rows import Status
from server.applications import NewApplication, Outcome, State
from server.logs import JsonFormatter
from tests.intake_rig import BASE, problem, running
from tests.sealed_packets import Keys, digest

URL = f"{BASE}/v1/applications/lookup"
JSON = {"Content-Type": "application/json"}
TODAY = datetime.now(UTC).date()


def number(serial: int) -> str:
    body = f"CD{serial:06}"
    return body + check_character(body)


NUMBER = number(1)


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("lookup-keys") / "pki")


@pytest.fixture
async def intake(keys, tmp_path):
    async with running(keys, tmp_path / "data") as started:
        yield started


@pytest.fixture
async def registry(intake):
    found = intake.intake.registry
    await found.file([NewApplication(number(n), "centre-07", TODAY + timedelta(days=3)) for n in range(1, 5)])
    await found.file([NewApplication(number(9), "centre-07", TODAY - timedelta(days=1))])
    return found


async def look_up(intake, body: object, *, signed: bytes | None = None):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = JSON | sign_request("POST", URL, JSON, content if signed is None else signed, intake.keys.signer)
    return await intake.client.post(URL, content=content, headers=headers)


def upload_headers(keys, body: bytes, application: str | None, token: str | None, method="PUT", **more):
    told = {"Content-Type": "application/vnd.passbooth.packet" if method == "PUT" else "application/partial-upload"}
    if application is not None:
        told["Passbooth-Application"] = application_digest(application).hex()
    if token is not None:
        told["Passbooth-Status"] = status_digest(token).hex()
    return told | more


async def put(intake, packet: bytes, application: str | None = None, token: str | None = None, **changed):
    url = f"{BASE}/v1/packets/{digest(packet)}"
    told = upload_headers(intake.keys, packet, application, token)
    signed = told | sign_request("PUT", url, told, packet, intake.keys.signer)
    return await intake.client.put(url, content=packet, headers=signed | changed)


async def test_the_answers_of_the_registry(intake, registry):
    answer = await look_up(intake, {"number": f" {grouped_number(NUMBER).lower()} "})
    assert answer.status_code == 200
    assert answer.json() == {
        "state": "filed",
        "centre": "centre-07",
        "expires": (TODAY + timedelta(days=3)).isoformat(),
    }
    assert answer.headers["cache-control"] == "no-store"
    problem(await look_up(intake, {"number": number(7)}), 404, "application.unknown")
    problem(await look_up(intake, {"number": number(9)}), 404, "application.expired")
    assert (await put(intake, intake.keys.packet(), NUMBER)).status_code == 201
    problem(await look_up(intake, {"number": NUMBER}), 409, "application.captured")
    await registry.decide(NUMBER, Outcome.RETAKE, ("light",))
    assert (await look_up(intake, {"number": NUMBER})).json()["state"] == "retake"
    assert (await put(intake, intake.keys.packet(), NUMBER)).status_code == 201
    await registry.decide(NUMBER, Outcome.ACCEPTED, ())
    problem(await look_up(intake, {"number": NUMBER}), 409, "application.captured")


async def test_an_intake_without_applications_says_that_it_has_no_registry(intake):
    problem(await look_up(intake, {"number": NUMBER}), 404, "application.no_registry")


async def test_only_booths_ask_and_each_request_counts_once(intake, registry):
    problem(await intake.client.post(URL, json={"number": NUMBER}), 401, "signature.missing")
    body = json.dumps({"number": NUMBER}).encode()
    headers = JSON | sign_request("POST", URL, JSON, body, intake.keys.signer)
    assert (await intake.client.post(URL, content=body, headers=headers)).status_code == 200
    problem(await intake.client.post(URL, content=body, headers=headers), 401, "signature.replayed")
    other = json.dumps({"number": number(2)}).encode()
    problem(await look_up(intake, other, signed=body), 422, "packet.digest_mismatch")
    problem(await intake.client.get(f"{URL}?number={NUMBER}"), 405, "request.method")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"number": 7}',
        b'{"number": ""}',
        b'{"number": "%s", "more": 1}' % NUMBER.encode(),
        b'{"number": "%s"}' % (NUMBER[:-1] + "@").encode(),
        b'{"number": "%s"}' % NUMBER[::-1].encode(),
        b'{"number": "%s"}' % (b"A" * 65),
    ],
)
async def test_what_is_no_number_is_refused_and_not_repeated(intake, registry, body):
    told = problem(await look_up(intake, body), 400, "request.malformed")
    assert NUMBER[:6] not in json.dumps(told)


async def test_too_large_and_of_another_type(intake, registry):
    problem(await look_up(intake, b'{"number": "' + b" " * 8200 + b'"}'), 413, "request.too_large")
    content = b"number=1"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    headers = form | sign_request("POST", URL, form, content, intake.keys.signer)
    problem(await intake.client.post(URL, content=content, headers=headers), 415, "request.media_type")


async def test_a_booth_that_tries_numbers_waits(intake, registry):
    answers = [await look_up(intake, {"number": number(100 + n)}) for n in range(LOOKUPS.burst + 1)]
    assert {answer.status_code for answer in answers[:-1]} == {404}
    problem(answers[-1], 429, "application.lookups")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= LOOKUPS.per_s


async def test_no_number_and_no_token_reaches_the_log(intake, registry, caplog):
    caplog.set_level("DEBUG")
    token = make_status_token()
    for asked in (NUMBER, number(7), number(9), NUMBER[:-1] + "@"):
        await look_up(intake, {"number": asked})
    await put(intake, intake.keys.packet(), NUMBER, token)
    await intake.client.post(f"{BASE}/status/v1/lookup", json={"token": token})
    await intake.client.post(f"{BASE}/status/v1/lookup", json={"token": token[:-2]})
    await intake.client.post(f"{BASE}/status", data={"token": token})
    ours = [record for record in caplog.records if record.name.startswith(("server", "crypto"))]
    assert ours
    lines = "\n".join(JsonFormatter().format(record) for record in ours)
    for secret in (NUMBER, number(7), number(9), token, token[:-2], application_digest(NUMBER).hex()):
        assert secret not in lines


# --- uploads -----------------------------------------------------------------------------------------------------------


async def test_an_upload_links_application_and_status_with_its_commit(intake, registry):
    packet, token = intake.keys.packet(), make_status_token()
    assert (await put(intake, packet, NUMBER, token)).status_code == 201
    assert (await registry.find(NUMBER)).state is State.CAPTURED
    assert await registry.status(status_digest(token).hex()) == Status(Outcome.RECEIVED, ())
    assert [one.packet_sha256 for one in await registry.captures_of(NUMBER)] == [digest(packet)]
    await registry.decide(NUMBER, Outcome.RETAKE, ("eyes",))
    assert (await put(intake, packet, NUMBER, token)).status_code == 200, "a duplicate"
    assert (await registry.find(NUMBER)).state is State.RETAKE, "which is no new portrait"
    assert len(await registry.captures_of(NUMBER)) == 1


async def test_uploads_without_the_headers_and_of_unknown_applications_are_as_good(intake, registry):
    bare, early, late = (intake.keys.packet() for _ in range(3))
    assert (await put(intake, bare)).status_code == 201
    assert (await put(intake, early, number(50))).status_code == 201
    assert (await put(intake, late, number(9))).status_code == 201, "expired, and here all the same"
    assert (await registry.find(number(9))).state is State.CAPTURED
    await registry.file([NewApplication(number(50), "centre-07", TODAY)])
    assert (await registry.find(number(50))).state is State.CAPTURED


async def test_many_copies_at_once_are_one_portrait(intake, registry):
    packet, token = intake.keys.packet(), make_status_token()
    answers = await asyncio.gather(*(put(intake, packet, NUMBER, token) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len(await registry.captures_of(NUMBER)) == 1


async def test_the_headers_are_covered_by_the_signature(intake, registry):
    packet, other = intake.keys.packet(), application_digest(number(2)).hex()
    problem(await put(intake, packet, NUMBER, **{"Passbooth-Application": other}), 401, "signature.invalid")
    problem(await put(intake, packet, None, **{"Passbooth-Application": other}), 401, "signature.invalid")
    assert await registry.captures_of(NUMBER) == await registry.captures_of(number(2)) == []


@pytest.mark.parametrize("value", ["", "A" * 64, "a" * 63, "a" * 65, "g" * 64, NUMBER])
@pytest.mark.parametrize("header", ["Passbooth-Application", "Passbooth-Status"])
async def test_what_is_no_digest_is_refused_before_the_packet_is_read(intake, header, value):
    told = problem(await put(intake, b"never read", **{header: value}), 400, "request.malformed")
    assert NUMBER not in json.dumps(told)
    assert intake.files() == []


async def test_an_upload_in_pieces_is_linked_by_its_last_request(intake, registry):
    packet, token = intake.keys.packet(padding=300_000), make_status_token()
    url, size = f"{BASE}/v1/packets/{digest(packet)}", len(packet)
    for method, body, fields in (
        ("PUT", packet[:1000], {"Upload-Complete": "?0", "Upload-Length": str(size)}),
        ("PATCH", packet[1000:], {"Upload-Complete": "?1", "Upload-Length": str(size), "Upload-Offset": "1000"}),
    ):
        assert (await registry.find(NUMBER)).state is State.FILED
        told = upload_headers(intake.keys, body, NUMBER, token, method, **fields)
        signed = told | sign_request(method, url, told, body, intake.keys.signer)
        answer = await intake.client.request(method, url, content=body, headers=signed)
        assert answer.status_code == 201
    assert (await registry.find(NUMBER)).state is State.CAPTURED
    assert await registry.status(status_digest(token).hex()) == Status(Outcome.RECEIVED, ())


async def test_a_commit_that_fails_links_nothing(intake, registry, monkeypatch):
    from server import receipt_log

    async def fail(*_):
        raise RuntimeError

    packet = intake.keys.packet()
    with monkeypatch.context() as patched:
        patched.setattr(receipt_log, "note_captures", fail)
        problem(await put(intake, packet, NUMBER), 500, "server")
    assert await intake.rooms.store.find(digest(packet)) is None, "neither packet nor link"
    assert (await registry.find(NUMBER)).state is State.FILED
    assert (await put(intake, packet, NUMBER)).status_code == 201
    assert (await registry.find(NUMBER)).state is State.CAPTURED
