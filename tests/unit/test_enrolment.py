"""Enrolment and renewal at the intake: every answer, nothing of a token anywhere, and nobody's tries at others' cost."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.keys import FileSigner
from crypto.trust import common_name
from server.authority import open_authority
from server.authority_index import hex_of
from server.enrolment import EnrolmentRequest, open_enrolment
from server.errors import EnrolmentUnavailableError, SettingsError
from server.logs import JsonFormatter
from tests.enrolment_rig import (
    BASE,
    CSR,
    JSON,
    TOKEN,
    Clock,
    FakeAuthority,
    audit,
    new_key,
    problem,
    request_for,
    running,
)
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


@pytest.fixture
async def real(tmp_path, clock):
    """An intake over the real authority, in the folder of its development keys."""
    keys = Keys(tmp_path / "pki")
    async with running(keys, tmp_path, clock, open_authority(keys.folder)) as started:
        yield started


# --- enrolment ---------------------------------------------------------------------------------------------------------


async def test_a_token_gets_a_certificate_that_the_intake_then_takes_packets_from(intake, keys, authority, caplog):
    caplog.set_level("INFO", logger="server")
    key = new_key()
    answer = await intake.enrol(csr=request_for(key=key))
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/pem-certificate-chain"
    assert answer.headers["cache-control"] == "no-store"
    leaf = x509.load_pem_x509_certificate(answer.content)
    assert common_name(leaf) == "booth-0001"
    assert leaf.public_key() == key.public_key()
    (line,) = [line for line in audit(caplog) if line["message"] == "A booth was enrolled."]
    assert (line["booth"], line["serial"]) == ("booth-0001", hex_of(leaf.serial_number))
    enrolled = Keys(keys.folder)
    enrolled.signer = FileSigner(leaf, (), key)
    packet = enrolled.packet()
    url = f"{BASE}/v1/packets/{digest(packet)}"
    assert (
        await intake.client.put(url, content=packet, headers=enrolled.headers("PUT", url, packet))
    ).status_code == 201


async def test_unknown_used_and_foreign_tokens_get_one_answer_and_stand_in_no_log(intake, caplog):
    caplog.set_level("DEBUG")
    await intake.enrol()
    used = await intake.enrol()
    unknown = await intake.enrol("00000-00000-00000-00000")
    intake.rooms.enrolment._issuer.tokens["AAAAA-AAAAA-AAAAA-AAAAA"] = "booth-0002"
    foreign = await intake.enrol("AAAAA-AAAAA-AAAAA-AAAAA")
    for answer in (used, unknown, foreign):
        problem(answer, 403, "enrolment.refused")
    assert used.content == unknown.content == foreign.content
    assert {k: v for k, v in used.headers.items() if k != "date"} == {
        k: v for k, v in unknown.headers.items() if k != "date"
    }
    told = "".join(JsonFormatter().format(r) for r in caplog.records) + used.text
    for token in (TOKEN, "00000-00000", "AAAAA-AAAAA"):
        assert token not in told


async def test_a_bad_request_is_told_before_anything_about_the_token(intake, authority):
    """The same answer for a right and for a wrong token, and the right one stays good."""
    bad = request_for().replace(b"A", b"B")
    right, wrong = await intake.enrol(csr=bad), await intake.enrol("00000-00000-00000-00000", csr=bad)
    problem(right, 400, "enrolment.request")
    assert right.content == wrong.content
    weak = request_for(key=ec.generate_private_key(ec.SECP256R1()))
    problem(await intake.enrol(csr=weak), 400, "enrolment.request")
    assert (await intake.enrol()).status_code == 201


async def test_five_wrong_tokens_make_an_address_wait_longer_each_time_and_nobody_else(intake, clock):
    for _ in range(5):
        problem(await intake.enrol("00000-00000-00000-00000"), 403, "enrolment.refused")
    locked = await intake.enrol()
    assert problem(locked, 429, "enrolment.locked")["retry"] is True
    assert int(locked.headers["retry-after"]) == 61
    async with intake.client_from("2001:db8::1") as other:
        assert (await intake.enrol(client=other)).status_code == 201
    clock.now += 61
    problem(await intake.enrol("00000-00000-00000-00000"), 403, "enrolment.refused")
    assert int((await intake.enrol()).headers["retry-after"]) == 121


async def test_many_wrong_tokens_at_once_are_no_way_around_and_a_right_one_forgets_the_wrong_ones(intake, clock):
    answers = await asyncio.gather(*(intake.enrol("00000-00000-00000-00000") for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [403] * 5 + [429] * 3
    clock.now += 61
    assert (await intake.enrol()).status_code == 201
    problem(await intake.enrol(), 403, "enrolment.refused")
    problem(await intake.enrol(), 403, "enrolment.refused")


async def test_an_authority_that_is_out_of_order_costs_no_tries(intake, authority):
    authority.failure = EnrolmentUnavailableError("The authority does not answer.")
    for _ in range(7):
        answer = problem(await intake.enrol(), 503, "enrolment.unavailable")
        assert answer["retry"] is True
    authority.failure = None
    assert (await intake.enrol()).status_code == 201


@pytest.mark.parametrize("failure", [EnrolmentUnavailableError, SettingsError])
async def test_where_the_authority_lies_is_for_the_log_alone(intake, authority, caplog, failure):
    authority.failure = failure("The authority's folder /srv/secret/ca cannot be used just now.")
    for answer in (await intake.enrol(), await intake.renew(request_for())):
        problem(answer, 503, "enrolment.unavailable")
        assert "/srv" not in answer.text
    assert "/srv/secret/ca" in caplog.text


async def test_the_authority_works_on_its_own_thread_and_more_than_its_places_are_told_to_come_back(intake, authority):
    authority.go_on.clear()
    async with contextlib.AsyncExitStack() as stack:
        others = [await stack.enter_async_context(intake.client_from(f"192.0.2.{n}")) for n in range(100, 109)]
        waiting = [asyncio.create_task(intake.enrol(client=one)) for one in others[:8]]
        assert await asyncio.to_thread(authority.entered.wait, 10)
        for _ in range(500):  # until the other seven stand behind the first
            await asyncio.sleep(0)
        assert (await intake.client.get("/v1/health")).status_code == 200
        answer = await intake.enrol(client=others[8])
        problem(answer, 503, "server.busy")
        assert answer.headers["retry-after"] == "5"
        authority.go_on.set()
        assert sorted(a.status_code for a in await asyncio.gather(*waiting)) == [201] + [403] * 7
    assert authority.threads == {"authority_0"}


async def test_a_sender_who_goes_away_leaves_the_place_only_when_the_authority_is_done(keys):
    authority = FakeAuthority(keys)
    authority.go_on.clear()
    async with open_enrolment(authority) as enrolment:
        task = asyncio.create_task(enrolment._on_thread(authority.issue_for_token, TOKEN, request_for()))
        assert await asyncio.to_thread(authority.entered.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        authority.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert authority.tokens == {}


async def test_wrong_types_sizes_and_forms_are_refused_before_the_authority_is_asked(intake, authority):
    good = json.dumps({"token": TOKEN, "csr": request_for().decode()})
    post = intake.client.post
    problem(await post("/v1/enrolments", content=good), 415, "request.media_type")
    problem(await post("/v1/enrolments", content=good, headers=CSR), 415, "request.media_type")
    problem(await post("/v1/enrolments", content="x" * 8193, headers=JSON), 413, "request.too_large")

    async def chunks():
        yield good.encode()

    problem(await post("/v1/enrolments", content=chunks(), headers=JSON), 411, "request.length_required")
    for body in (
        "",
        "{",
        "[]",
        "null",
        '{"token": 1, "csr": "x"}',
        '{"token": "x"}',
        f'{{"a": 1, {good[1:]}',
        "\udcff",
    ):
        answer = await post("/v1/enrolments", content=body.encode("utf-8", "surrogateescape"), headers=JSON)
        problem(answer, 400, "request.malformed")
    problem(await intake.client.get("/v1/enrolments"), 405, "request.method")
    assert not authority.threads
    assert (await post("/v1/enrolments", content=good, headers=JSON)).status_code == 201


async def test_a_slow_sender_is_let_go(intake, monkeypatch):
    monkeypatch.setattr("server.enrolment.BODY_S", 0.5)
    silence = asyncio.Event()

    async def half():
        yield b'{"token": '
        await silence.wait()

    def send():
        return intake.client.post("/v1/enrolments", content=half(), headers=JSON | {"Content-Length": "900"})

    slow = [asyncio.create_task(send()) for _ in range(20)]
    for _ in range(100):  # all are waiting for their bodies
        await asyncio.sleep(0)
    assert (await intake.enrol()).status_code == 201  # and hold no place
    for answer in await asyncio.gather(*slow):
        problem(answer, 408, "request.slow")


async def test_an_intake_without_an_authority_says_so(keys, tmp_path, clock):
    async with running(keys, tmp_path, clock, None) as intake:
        problem(await intake.enrol(), 503, "enrolment.unavailable")
        problem(await intake.renew(request_for()), 503, "enrolment.unavailable")


HOSTILE = st.one_of(
    st.binary(max_size=600),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["token", "csr", "x"]), inner, max_size=3)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda token, csr: json.dumps({"token": token, "csr": csr}).encode(),
        st.text(max_size=70),
        st.one_of(
            st.text(max_size=80),
            st.binary(max_size=200).map(
                lambda der: "-----BEGIN CERTIFICATE REQUEST-----\n" + der.hex() + "\n-----END CERTIFICATE REQUEST-----"
            ),
        ),
    ),
    st.tuples(st.integers(0, 700), st.integers(0, 255)).map(
        lambda change: json.dumps({"token": TOKEN, "csr": _changed(*change)}).encode()
    ),
)
_GOOD = request_for("booth-0009")


def _changed(at: int, value: int) -> str:
    body = bytearray(_GOOD)
    body[at % len(body)] = value
    return body.decode("latin-1")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=HOSTILE)
async def test_no_body_is_the_servers_fault(intake, body):
    intake.rooms.enrolment._tries._parties.clear()
    answer = await intake.client.post("/v1/enrolments", content=body, headers=JSON)
    assert answer.status_code in {400, 403, 413}, answer.text
    problem(answer, answer.status_code, answer.json()["code"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=HOSTILE)
async def test_no_body_is_the_servers_fault_with_the_real_authority_either(real, body):
    real.rooms.enrolment._tries._parties.clear()
    answer = await real.client.post("/v1/enrolments", content=body, headers=JSON)
    assert answer.status_code in {400, 403, 413}, answer.text
    problem(answer, answer.status_code, answer.json()["code"])


async def test_the_real_authority_answers_as_the_stand_in_does(real, caplog):
    caplog.set_level("DEBUG")
    authority, keys = real.rooms.enrolment._issuer, real.keys
    token, foreign = authority.make_token("booth-0007"), authority.make_token("booth-0008")
    bad = request_for("booth-0007").replace(b"A", b"B")
    problem(await real.enrol(token, csr=bad), 400, "enrolment.request")
    key = new_key()
    typed = token.lower().replace("0", "o").replace("-", " ")
    answers = await asyncio.gather(*(real.enrol(typed, csr=request_for("booth-0007", new_key())) for _ in range(3)))
    assert sorted(a.status_code for a in answers) == [201, 403, 403]
    refused = [await real.enrol(one, csr=request_for("booth-0007")) for one in (token, foreign, "no token")]
    assert {answer.content for answer in refused} == {a.content for a in answers if a.status_code == 403}
    assert problem(refused[0], 403, "enrolment.refused")["retry"] is False
    told = "".join(JsonFormatter().format(record) for record in caplog.records)
    assert not any(one in told for one in (token, typed, foreign, token.replace("-", "")))

    renewed = await real.renew(request_for(key=key))
    assert renewed.status_code == 201
    leaf = x509.load_pem_x509_certificate(renewed.content)
    assert leaf.public_key() == key.public_key()
    authority.revoke(keys.signer.certificate.serial_number, x509.ReasonFlags.superseded)
    (keys.folder / "ca.crl").replace(real.crl)
    real.rooms.trust._looked_at = 0.0
    problem(await real.renew(request_for()), 403, "booth.revoked")
    assert (await real.renew(request_for(), FileSigner(leaf, (), key))).status_code == 201


async def test_two_intakes_and_a_command_use_one_authority_at_once(tmp_path, clock):
    keys = Keys(tmp_path / "pki")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    operator = open_authority(keys.folder)
    token = operator.make_token("booth-0007")
    async with (
        running(keys, tmp_path / "one", clock, open_authority(keys.folder)) as one,
        running(keys, tmp_path / "two", clock, open_authority(keys.folder)) as two,
    ):
        wanted = (one.enrol(token, csr=request_for("booth-0007")), two.enrol(token, csr=request_for("booth-0007")))
        answers = await asyncio.gather(*wanted, asyncio.to_thread(operator.make_token, "booth-0009"))
        assert sorted(answer.status_code for answer in answers[:2]) == [201, 403]


# --- renewal -----------------------------------------------------------------------------------------------------------


async def test_a_booth_renews_with_its_present_certificate_once_for_each_request(intake, keys, authority, caplog):
    caplog.set_level("INFO", logger="server")
    key = new_key()
    csr = request_for(key=key)
    answer = await intake.renew(csr)
    assert answer.status_code == 201
    assert x509.load_pem_x509_certificate(answer.content).public_key() == key.public_key()
    assert authority.renewed == keys.signer.certificate.serial_number
    assert any(line["message"] == "A booth's certificate was renewed." for line in audit(caplog))
    url = f"{BASE}/v1/certificates"
    headers = keys.headers("POST", url, csr) | CSR
    assert (await intake.client.post(url, content=csr, headers=headers)).status_code == 201
    problem(await intake.client.post(url, content=csr, headers=headers), 401, "signature.replayed")


async def test_a_renewal_must_be_signed_by_this_booth_for_this_booth_over_these_bytes(intake, keys, tmp_path):
    csr = request_for()
    problem(await intake.client.post("/v1/certificates", content=csr, headers=CSR), 401, "signature.missing")
    stranger = Keys(tmp_path / "stranger")
    problem(await intake.renew(csr, stranger.signer), 401, "signature.invalid")
    problem(await intake.renew(request_for("booth-0002")), 400, "enrolment.request")
    problem(await intake.renew(b"no request"), 400, "enrolment.request")
    url = f"{BASE}/v1/certificates"
    headers = keys.headers("POST", url, csr) | CSR
    other = csr.replace(b"A", b"B")
    assert len(other) == len(csr)
    problem(await intake.client.post(url, content=other, headers=headers), 422, "packet.digest_mismatch")
    big = b"x" * 9000
    problem(await intake.renew(big), 413, "request.too_large")


async def test_the_description_names_bodies_and_answers(intake):
    paths = (await intake.client.get("/v1/openapi.json")).json()["paths"]
    enrol = paths["/v1/enrolments"]["post"]
    assert set(enrol["requestBody"]["content"]["application/json"]["schema"]["properties"]) == {"token", "csr"}
    assert "application/pem-certificate-chain" in enrol["responses"]["201"]["content"]
    assert {"201", "4XX", "5XX"} <= set(enrol["responses"])
    assert "application/x-pem-file" in paths["/v1/certificates"]["post"]["requestBody"]["content"]
    assert "application/pkix-crl" in paths["/v1/crl"]["get"]["responses"]["200"]["content"]


def test_a_token_is_not_shown_by_whoever_prints_the_request():
    assert TOKEN not in repr(EnrolmentRequest(token=TOKEN, csr="x"))
