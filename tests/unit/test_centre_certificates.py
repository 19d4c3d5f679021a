"""Centres at the authority and at the intake: who gets a certificate, and which ones are told to booths."""

from __future__ import annotations

import contextlib
import errno
from datetime import UTC, datetime
from unittest.mock import Mock

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import NameOID
from fastapi import FastAPI

from crypto.issuance import Profile
from crypto.trust import Purpose, common_name, load_certificates, load_trust
from server.authority import init_authority
from server.centres import CentreBundle, make_centre_routes
from server.errors import CsrRefusedError
from server.problems import answer_with_problems
from tests.vectors.make_slips import NORTH


def request(name: str, curve: ec.EllipticCurve) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = made.sign(ec.generate_private_key(curve), hashes.SHA384())
    return signed.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "ca"


@pytest.fixture
def authority(folder):
    return init_authority(folder, "Test authority", "Interior", None)


def test_a_centre_has_a_key_on_its_own_curve_and_nobody_else_has(authority, folder):
    with pytest.raises(CsrRefusedError, match="P-256"):
        authority.issue(request("centre-north", ec.SECP384R1()), Profile.CENTRE, "centre-north")
    with pytest.raises(CsrRefusedError, match="P-384"):
        authority.issue(request("booth-0009", ec.SECP256R1()), Profile.BOOTH, "booth-0009")
    assert not (folder / "centres.pem").exists()


def test_a_centre_stands_in_the_bundle_until_it_is_taken_back(authority, folder):
    def told() -> list[str]:
        return [common_name(one) for one in load_certificates(folder / "centres.pem")]

    for name in ("centre-north", "centre-south"):
        chain = authority.issue(request(name, ec.SECP256R1()), Profile.CENTRE, name)
        leaf = x509.load_pem_x509_certificate(chain)
        assert load_trust(folder / "ca.pem").path(leaf, (), Purpose.CENTRE, datetime.now(UTC))
    assert told() == ["centre-north", "centre-south"]
    authority.revoke("centre-north", ReasonFlags.superseded)
    assert told() == ["centre-south"]
    authority.revoke("centre-south", ReasonFlags.superseded)
    assert (folder / "centres.pem").read_bytes() == b""


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def asked(path, clock):
    app = FastAPI()
    answer_with_problems(app)
    app.include_router(make_centre_routes(CentreBundle(path, clock)))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://intake") as client:
        yield client


async def test_the_intake_tells_the_bundle_as_it_is_and_reads_it_again(tmp_path):
    path, clock = tmp_path / "centres.pem", Clock()
    async with asked(path, clock) as client:
        missing = await client.get("/v1/centres")
        assert (missing.status_code, missing.json()["code"]) == (404, "centres.unknown")
        path.write_bytes(NORTH.pem)
        assert (await client.get("/v1/centres")).status_code == 404  # looked at within the last second
        clock.now += 1
        answer = await client.get("/v1/centres")
        assert answer.content == NORTH.pem
        assert answer.headers["content-type"] == "application/x-pem-file"
        assert answer.headers["cache-control"] == "max-age=60"
        path.write_bytes(b"")  # the last one was taken back
        clock.now += 1
        assert (await client.get("/v1/centres")).content == b""


async def test_a_disk_that_does_not_give_the_bundle_now_is_asked_again(tmp_path, monkeypatch, caplog):
    path, clock = tmp_path / "centres.pem", Clock()
    path.write_bytes(NORTH.pem)
    async with asked(path, clock) as client:
        with monkeypatch.context() as patch:
            patch.setattr("server.centres.read_file", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
            for _ in range(3):
                clock.now += 1
                assert (await client.get("/v1/centres")).status_code == 404
        clock.now += 1
        assert (await client.get("/v1/centres")).content == NORTH.pem
    assert len([one for one in caplog.records if "cannot be used" in one.message]) == 1


@pytest.mark.parametrize(
    "broken", [b"\x00", NORTH.pem[:-9], NORTH.pem + b"-----BEGIN X-----\nAAAA\n-----END X-----\n", b" " * 1_100_000]
)
async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path, broken, caplog):
    path, clock = tmp_path / "centres.pem", Clock()
    path.write_bytes(NORTH.pem)
    async with asked(path, clock) as client:
        assert (await client.get("/v1/centres")).content == NORTH.pem
        path.write_bytes(broken)
        for _ in range(3):
            clock.now += 1
            assert (await client.get("/v1/centres")).content == NORTH.pem
    assert len([one for one in caplog.records if "cannot be used" in one.message]) == 1
