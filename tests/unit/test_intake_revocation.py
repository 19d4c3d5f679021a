"""Revoked booths and the revocation list at the intake: told with the reason, re-read when it changes, never made good by a bad file."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from server.authority_index import hex_of
from server.booth_trust import BoothTrust
from server.errors import SettingsError
from tests.enrolment_rig import BASE, Clock, FakeAuthority, audit, problem, put, request_for, running, write_list
from tests.sealed_packets import Keys, digest


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("enrolment") / "pki")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(keys) -> FakeAuthority:
    return FakeAuthority(keys)


@pytest.fixture
async def intake(keys, tmp_path, clock, authority):
    async with running(keys, tmp_path, clock, authority) as started:
        yield started


async def test_a_revoked_booth_is_told_why_everywhere_and_the_log_names_booth_and_serial_alone(
    intake, keys, clock, caplog
):
    caplog.set_level("INFO", logger="server")
    packet = keys.packet()
    assert (await put(intake, keys, packet)).status_code == 201
    serial = keys.signer.certificate.serial_number
    intake.revoke(serial)
    assert (await put(intake, keys, packet)).status_code == 200  # looked at within the last second
    clock.now += 1
    body = problem(await put(intake, keys, keys.packet()), 403, "booth.revoked")
    assert body["retry"] is False
    assert "enrol" in body["detail"]
    problem(await intake.renew(request_for()), 403, "booth.revoked")
    url = f"{BASE}/v1/packets/{digest(packet)}/receipt"
    problem(await intake.client.get(url, headers=keys.headers("GET", url)), 403, "booth.revoked")
    lines = [line for line in audit(caplog) if line["message"] == "A revoked booth was refused."]
    assert {tuple(sorted(line)) for line in lines} == {("at", "booth", "level", "logger", "message", "serial")}
    assert {(line["booth"], line["serial"]) for line in lines} == {("booth-0001", hex_of(serial))}


async def test_who_has_a_revoked_certificate_without_its_key_learns_and_logs_nothing(intake, keys, clock, caplog):
    intake.revoke(keys.signer.certificate.serial_number)
    clock.now += 1
    packet = keys.packet()
    url = f"{BASE}/v1/packets/{digest(packet)}"
    headers = keys.headers("PUT", url, packet)
    headers["Signature"] = Keys(keys.folder).headers("PUT", f"{url}0", packet)["Signature"]
    problem(await intake.client.put(url, content=packet, headers=headers), 401, "signature.invalid")
    assert not any("revoked booth" in line["message"] for line in audit(caplog))


async def test_the_list_is_given_as_it_is_in_use(intake, clock):
    first = await intake.client.get("/v1/crl")
    assert first.headers["content-type"] == "application/pkix-crl"
    assert first.headers["cache-control"] == "max-age=60"
    assert first.content == intake.crl.read_bytes()
    intake.revoke(7)
    clock.now += 1
    again = await intake.client.get("/v1/crl")
    assert again.content == intake.crl.read_bytes() != first.content


async def test_an_intake_without_a_list_says_so(keys, tmp_path, clock, intake):
    intake.rooms.trust._trust = BoothTrust(keys.folder / "ca.pem")._trust
    problem(await intake.client.get("/v1/crl"), 404, "crl.unknown")
    assert (await intake.client.get("/v1/ready")).json()["revocation_list"] == "none"


async def test_several_lists_are_given_in_pem_with_their_issuers(keys, tmp_path, clock, intake):
    other = Keys(tmp_path / "other")
    roots, lists = tmp_path / "roots.pem", tmp_path / "lists.pem"
    roots.write_bytes((keys.folder / "ca.pem").read_bytes() + (other.folder / "ca.pem").read_bytes())
    pem = serialization.Encoding.PEM
    ders = [intake.crl.read_bytes(), (other.folder / "ca.crl").read_bytes()]
    lists.write_bytes(b"".join(x509.load_der_x509_crl(der).public_bytes(pem) for der in ders))
    trust = BoothTrust(roots, lists)
    intake.rooms.trust._trust = trust._trust
    answer = await intake.client.get("/v1/crl")
    assert answer.headers["content-type"] == "application/x-pem-file"
    lists.write_bytes(answer.content)
    assert {one.der for one in BoothTrust(roots, lists)._trust.crls} == set(ders)


@pytest.mark.parametrize("damage", ["torn", "forged", "older", "gone"])
async def test_a_bad_new_list_makes_no_revoked_booth_good_again_and_is_told(
    intake, keys, clock, tmp_path, caplog, damage
):
    serial = keys.signer.certificate.serial_number
    intake.revoke(serial, number=5)
    clock.now += 1
    problem(await put(intake, keys, keys.packet()), 403, "booth.revoked")
    good = intake.crl.read_bytes()
    if damage == "torn":
        intake.crl.write_bytes(good[:-9])
    elif damage == "forged":
        write_list(Keys(tmp_path / "forger"), intake.crl, 9)
    elif damage == "older":
        intake.revoke(number=4)
    else:
        intake.crl.unlink()
    for _ in range(3):
        clock.now += 1
        problem(await put(intake, keys, keys.packet()), 403, "booth.revoked")
    assert (await intake.client.get("/v1/ready")).json() == {"status": "ready", "revocation_list": "unreadable"}
    assert sum(line["level"] == "error" for line in audit(caplog)) == 1
    assert (await intake.client.get("/v1/crl")).content == good
    intake.revoke(number=6)
    clock.now += 1
    assert (await put(intake, keys, keys.packet())).status_code == 201
    assert (await intake.client.get("/v1/ready")).json()["revocation_list"] == "current"


async def test_a_list_past_its_end_still_counts_and_is_told_as_stale(keys, tmp_path, caplog):
    crl = tmp_path / "list.crl"
    write_list(keys, crl, 1, 7)
    later = datetime.now(UTC) + timedelta(days=4_000)
    clock = Clock()
    trust = BoothTrust(keys.folder / "ca.pem", crl, monotonic=clock, now=lambda: later)
    assert trust.state == "stale"
    assert 7 in (await trust.current()).crls[0].entries
    stale = "The revocation list is past its end: let the authority issue a new one."
    for _ in range(100):
        clock.now += 60
        await trust.current()
    assert [r.message for r in caplog.records].count(stale) == 2  # at the start and after an hour


async def test_an_unreadable_list_at_the_start_is_one_sentence(keys, tmp_path):
    with pytest.raises(SettingsError):
        BoothTrust(keys.folder / "ca.pem", tmp_path / "none.crl")
    (tmp_path / "bad.crl").write_bytes(b"x")
    with pytest.raises(SettingsError):
        BoothTrust(keys.folder / "ca.pem", tmp_path / "bad.crl")


async def test_one_reader_at_a_time_reads_a_changed_list_while_others_go_on(keys, tmp_path, monkeypatch):
    crl, clock = tmp_path / "list.crl", Clock()
    write_list(keys, crl, 1)
    trust = BoothTrust(keys.folder / "ca.pem", crl, monotonic=clock)
    before = await trust.current()
    write_list(keys, crl, 2, 7)
    clock.now += 1
    release, reads = threading.Event(), []
    read = trust._read_newer
    monkeypatch.setattr(trust, "_read_newer", lambda: (reads.append(1), release.wait(10), read())[2])
    reading = asyncio.create_task(trust.current())
    await asyncio.sleep(0)
    clock.now += 5
    assert await trust.current() is before
    release.set()
    assert (await reading).crls[0].number == 2
    assert len(reads) == 1
