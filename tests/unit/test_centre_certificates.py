"""Centres at the authority and at the intake: who gets a certificate, and which ones are told to booths."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import NameOID

from crypto.issuance import Profile
from crypto.trust import Purpose, common_name, load_certificates, load_trust
from server.authority import init_authority
from server.errors import CsrRefusedError


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
