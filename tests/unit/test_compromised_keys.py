"""A compromised key is compromised in all its certificates: who has it may present any of them."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import NameOID

from crypto.issuance import Profile
from server.authority import Authority, init_authority
from server.errors import AuthorityError

BOOTH = "booth-0001"


@pytest.fixture
def authority(tmp_path) -> Authority:
    return init_authority(tmp_path / "ca", "Test authority", "Interior", None)


def request(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, BOOTH)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA384())
    return signed.public_bytes(serialization.Encoding.PEM)


def serials(authority: Authority) -> tuple[int, int, int]:
    """Two certificates of one key and one of another, all of one booth."""
    stolen, other = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    first = x509.load_pem_x509_certificate(authority.issue(request(stolen), Profile.BOOTH, BOOTH)).serial_number
    again = x509.load_pem_x509_certificate(authority.renew(BOOTH, request(stolen), first)).serial_number
    third = x509.load_pem_x509_certificate(authority.renew(BOOTH, request(other), again)).serial_number
    return first, again, third


def test_a_serial_number_revoked_as_compromised_stands_for_its_key(authority):
    first, again, third = serials(authority)
    assert {one.serial for one in authority.revoke(again, ReasonFlags.key_compromise)} == {first, again}
    assert set(authority.current_list().entries) == {first, again}
    assert authority.revoke(third, ReasonFlags.superseded)


def test_a_lesser_reason_takes_back_the_one_certificate(authority):
    first, again, _ = serials(authority)
    assert [one.serial for one in authority.revoke(again, ReasonFlags.superseded)] == [again]
    assert set(authority.current_list().entries) == {again}
    assert {one.serial for one in authority.revoke(first, ReasonFlags.key_compromise)} == {first, again}
    with pytest.raises(AuthorityError):
        authority.revoke(again, ReasonFlags.key_compromise)
