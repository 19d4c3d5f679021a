"""Enrolment, renewal and the revocation list at the intake: every answer, nothing of a token anywhere, and nobody's tries at others' cost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.errors import EnrolmentError as RequestFormError
from crypto.issuance import Issuer as Authority
from crypto.issuance import Profile, Revoked, issue, make_crl, read_csr
from crypto.keys import FileSigner, SignerSource
from crypto.trust import common_name, load_certificates
from server.authority import open_authority
from server.booth_trust import BoothTrust
from server.config import IntakeSettings
from server.enrolment import EnrolmentRequest, open_enrolment
from server.errors import CsrRefusedError, EnrolmentRefusedError, EnrolmentUnavailableError
from server.intake import IntakeRooms, make_intake
from server.logs import JsonFormatter
from server.objects import open_folder_objects
from server.receipt_log import open_receipt_log
from server.store import open_store
from tests.sealed_packets import Keys, digest

BASE = "https://intake.test"
TOKEN = "7Q2MX-0B4TD-9KXVN-3HC5E"
CSR = {"Content-Type": "application/x-pem-file"}
JSON = {"Content-Type": "application/json"}


class FakeAuthority:
    """Issues by the development authority's key; one token for one booth. Refuses in the order of the real one."""

    def __init__(self, keys: Keys) -> None:
        folder = keys.folder
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        self.root = Authority(load_certificates(folder / "ca.pem")[0], key)
        self.tokens = {TOKEN: "booth-0001"}
        self.failure: Exception | None = None
        self.threads: set[str] = set()
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def issue_for_token(self, token: str, csr_pem: bytes) -> bytes:
        self._work()
        asked = self._read(csr_pem)
        if self.tokens.get(token) != asked.identity:
            raise EnrolmentRefusedError
        del self.tokens[token]
        return self._issue(asked)

    def renew(self, booth: str, csr_pem: bytes, current_serial: int) -> bytes:
        self._work()
        asked = self._read(csr_pem)
        if asked.identity != booth:
            raise CsrRefusedError
        self.renewed = current_serial
        return self._issue(asked)

    def crl(self) -> bytes:
        self.kept = True
        return b""

    def _work(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.go_on.wait(10)
        if self.failure is not None:
            raise self.failure

    def _read(self, csr_pem: bytes):
        try:
            return read_csr(csr_pem)
        except RequestFormError as error:
            raise CsrRefusedError from error

    def _issue(self, asked) -> bytes:
        leaf = issue(self.root, asked.public_key, asked.identity, Profile.BOOTH, datetime.now(UTC))
        return leaf.public_bytes(serialization.Encoding.PEM)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def request_for(booth: str = "booth-0001", key=None) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, booth)])
    built = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key or new_key(), hashes.SHA384())
    return built.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("enrolment") / "pki")


class Running:
    def __init__(self, rooms: IntakeRooms, keys: Keys, app, crl) -> None:
        self.rooms, self.keys, self.app, self.crl = rooms, keys, app, crl
        self.address = "192.0.2.7"
        self.client = self.client_from(self.address)

    def client_from(self, address: str) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 1))
        return httpx2.AsyncClient(transport=transport, base_url=BASE)

    async def enrol(self, token: str = TOKEN, csr: bytes | None = None, client=None):
        body = {"token": token, "csr": (csr or request_for()).decode()}
        return await (client or self.client).post("/v1/enrolments", json=body)

    async def renew(self, csr: bytes, signer=None, **more):
        keys = Keys(self.keys.folder)
        keys.signer = signer or keys.signer
        url = f"{BASE}/v1/certificates"
        return await self.client.post(url, content=csr, headers=keys.headers("POST", url, csr) | CSR | more)

    def revoke(self, *serials: int, number: int = 2, reason=x509.ReasonFlags.superseded) -> None:
        """Writes a new list as the authority does: by a rename."""
        write_list(self.keys, self.crl, number, *serials, reason=reason)


def write_list(keys: Keys, path, number: int, *serials: int, reason=x509.ReasonFlags.superseded) -> None:
    now = datetime.now(UTC)
    root = FakeAuthority(keys).root
    partial = path.with_name("partial")
    partial.write_bytes(
        make_crl(root, number, [Revoked(s, now, reason) for s in serials], now, now + timedelta(days=7))
    )
    partial.replace(path)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(keys) -> FakeAuthority:
    return FakeAuthority(keys)


@contextlib.asynccontextmanager
async def running(keys: Keys, folder, clock, issuer):
    crl = folder / "list.crl"
    write_list(keys, crl, 1)  # not the folder's own, which the real authority keeps
    chosen = IntakeSettings.from_pki(keys.folder, folder / "data", crl=crl)
    async with (
        open_store(chosen.resolved_database_url) as store,
        open_folder_objects(chosen.objects_dir) as objects,
        open_receipt_log(store, SignerSource(chosen.receipt_signer).current) as receipts,
        open_enrolment(issuer, clock) as enrolment,
    ):
        trust = BoothTrust(chosen.trust, chosen.crl, monotonic=clock)
        rooms = IntakeRooms(chosen, store, objects, trust, receipts, enrolment)
        app, _ = make_intake(rooms)
        started = Running(rooms, keys, app, crl)
        async with started.client:
            yield started


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


def problem(answer, status: int, code: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["code"] == code
    return body


def audit(caplog) -> list[dict]:
    return [json.loads(JsonFormatter().format(r)) for r in caplog.records if r.name.startswith("server")]


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
    assert (line["booth"], line["serial"]) == ("booth-0001", f"{leaf.serial_number:x}")
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
    intake.rooms.enrolment._tries._networks.clear()
    answer = await intake.client.post("/v1/enrolments", content=body, headers=JSON)
    assert answer.status_code in {400, 403, 413}, answer.text
    problem(answer, answer.status_code, answer.json()["code"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=HOSTILE)
async def test_no_body_is_the_servers_fault_with_the_real_authority_either(real, body):
    real.rooms.enrolment._tries._networks.clear()
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


# --- revocation --------------------------------------------------------------------------------------------------------


async def put(intake, keys, packet):
    url = f"{BASE}/v1/packets/{digest(packet)}"
    return await intake.client.put(url, content=packet, headers=keys.headers("PUT", url, packet))


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
    assert {(line["booth"], line["serial"]) for line in lines} == {("booth-0001", f"{serial:x}")}


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
    from server.errors import SettingsError

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


async def test_the_description_names_bodies_and_answers(intake):
    paths = (await intake.client.get("/v1/openapi.json")).json()["paths"]
    enrol = paths["/v1/enrolments"]["post"]
    assert set(enrol["requestBody"]["content"]["application/json"]["schema"]["properties"]) == {"token", "csr"}
    assert "application/pem-certificate-chain" in enrol["responses"]["201"]["content"]
    assert {"400", "403", "429", "503"} <= set(enrol["responses"])
    assert "application/x-pem-file" in paths["/v1/certificates"]["post"]["requestBody"]["content"]
    assert "application/pkix-crl" in paths["/v1/crl"]["get"]["responses"]["200"]["content"]


def test_a_token_is_not_shown_by_whoever_prints_the_request():
    assert TOKEN not in repr(EnrolmentRequest(token=TOKEN, csr="x"))
