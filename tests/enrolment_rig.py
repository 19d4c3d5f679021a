"""An intake over ASGI that enrols booths, with a clock and an authority that a test holds in its hand."""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import UTC, datetime, timedelta

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crypto.errors import EnrolmentError as RequestFormError
from crypto.issuance import Issuer as Authority
from crypto.issuance import Profile, Revoked, issue, make_crl, read_csr
from crypto.keys import SignerSource
from crypto.trust import load_certificates
from server.booth_trust import BoothTrust
from server.config import IntakeSettings
from server.enrolment import open_enrolment
from server.errors import CsrRefusedError, EnrolmentRefusedError
from server.intake import IntakeRooms, make_intake
from server.logs import JsonFormatter
from server.objects import open_objects
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


@contextlib.asynccontextmanager
async def running(keys: Keys, folder, clock, issuer):
    crl = folder / "list.crl"
    write_list(keys, crl, 1)  # not the folder's own, which the real authority keeps
    chosen = IntakeSettings.from_pki(keys.folder, folder / "data", crl=crl)
    async with (
        open_store(chosen.resolved_database_url) as store,
        open_objects(chosen) as objects,
        open_receipt_log(store, SignerSource(chosen.receipt_signer).current) as receipts,
        open_enrolment(issuer, clock) as enrolment,
    ):
        trust = BoothTrust(chosen.trust, chosen.crl, monotonic=clock)
        rooms = IntakeRooms(chosen, store, objects, trust, receipts, enrolment)
        app, _ = make_intake(rooms)
        started = Running(rooms, keys, app, crl)
        async with started.client:
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


async def put(intake, keys, packet):
    url = f"{BASE}/v1/packets/{digest(packet)}"
    return await intake.client.put(url, content=packet, headers=keys.headers("PUT", url, packet))
