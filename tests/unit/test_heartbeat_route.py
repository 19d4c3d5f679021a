"""`POST /v1/heartbeats` over signed requests: whose it is says the certificate, nothing else is believed, and nothing of the body is in an answer or a log."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from crypto.heartbeat import MAX_HEARTBEAT_BYTES
from crypto.http_signature import sign_request
from server.fleet_rows import read_last_beats
from server.heartbeats import TELLING
from server.logs import JsonFormatter
from tests.heartbeats import heartbeat
from tests.intake_rig import BASE, problem, running
from tests.sealed_packets import Keys

URL = f"{BASE}/v1/heartbeats"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("heartbeat-keys") / "pki")


@pytest.fixture
async def intake(keys, tmp_path):
    async with running(keys, tmp_path / "data", heartbeat_s=120) as started:
        yield started


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def signed(intake, body: bytes, said: bytes | None = None) -> dict[str, str]:
    return JSON | sign_request("POST", URL, JSON, body if said is None else said, intake.keys.signer)


async def tell(intake, body: bytes):
    return await intake.client.post(URL, content=body, headers=signed(intake, body))


async def test_a_heartbeat_is_kept_and_answered(intake):
    beat = heartbeat(sent_at=now())
    answer = await tell(intake, beat.to_bytes())
    assert answer.status_code == 200
    assert answer.json() == {"actions": 0, "next_s": 120}
    assert answer.headers["cache-control"] == "no-store"
    assert (await read_last_beats(intake.rooms.store))["booth-0001"].beat == beat


async def test_a_booth_speaks_of_itself_alone(intake):
    problem(await tell(intake, heartbeat(sent_at=now(), booth="booth-0002").to_bytes()), 403, "heartbeat.booth")
    for away in (timedelta(minutes=6), timedelta(minutes=-6)):
        late = problem(await tell(intake, heartbeat(sent_at=now() + away).to_bytes()), 400, "heartbeat.malformed")
        assert "set the clock" in late["detail"]
    assert not await read_last_beats(intake.rooms.store)


async def test_other_forms_are_refused_with_the_place_and_without_the_value(intake, caplog):
    caplog.set_level(logging.DEBUG)
    told = json.loads(heartbeat(sent_at=now()).to_bytes()) | {"service": {"state": "Erika Mustermann"}}
    refused = problem(await tell(intake, json.dumps(told).encode()), 400, "heartbeat.malformed")
    assert "'service.state'" in refused["detail"]
    body = heartbeat(sent_at=now()).to_bytes()
    other = await intake.client.post(URL, content=body, headers=signed(intake, body, body[:-1] + b" "))
    problem(other, 422, "packet.digest_mismatch")
    problem(await tell(intake, b" " * (MAX_HEARTBEAT_BYTES + 1)), 413, "request.too_large")
    problem(await intake.client.post(URL, content=body, headers=JSON), 401, "signature.missing")
    lines = "".join(JsonFormatter().format(record) for record in caplog.records)
    assert "Mustermann" not in lines + refused["detail"]


async def test_the_same_request_counts_once_and_a_booth_that_tells_all_the_time_has_to_wait(intake):
    body = heartbeat(sent_at=now()).to_bytes()
    headers = signed(intake, body)
    assert (await intake.client.post(URL, content=body, headers=headers)).status_code == 200
    problem(await intake.client.post(URL, content=body, headers=headers), 401, "signature.replayed")
    for _ in range(TELLING.burst - 2):
        assert (await tell(intake, body)).status_code == 200
    waiting = await tell(intake, body)
    problem(waiting, 429, "heartbeat.too_often")
    assert 1 <= int(waiting.headers["retry-after"]) <= TELLING.per_s
