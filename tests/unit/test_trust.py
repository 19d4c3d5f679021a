"""Trust: which certificates are believed, for what and when, and what every other one is refused for."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.certificate import MAX_CERTIFICATE_BYTES, read_certificate
from crypto.errors import CertificateRefusedError, KeyUnavailableError
from crypto.keys import (
    Purpose,
    TrustStore,
    common_name,
    load_trust,
)
from crypto.trust import _verify, check_leaf
from tests.packets import BOOTH, NOW, Authority, make_authority, make_signer, usage
from tests.packets import name as subject

PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def root() -> Authority:
    return make_authority()


def accepts(trust: TrustStore, signer, at: datetime = NOW, purpose: Purpose = Purpose.BOOTH) -> bool:
    try:
        trust.path(signer.certificate, signer.chain, purpose, at)
    except CertificateRefusedError:
        return False
    return True


def test_a_booth_is_believed_through_intermediate_authorities(root):
    middle = make_authority("middle", root, path_length=1)
    lower = make_authority("lower", middle, path_length=0, purposes=[Purpose.BOOTH.oid])
    trust = TrustStore((root.certificate,))
    chain = (lower.certificate, middle.certificate)
    booth = make_signer(lower, chain=chain)
    assert trust.path(booth.certificate, chain, Purpose.BOOTH, NOW) == (booth.certificate, *chain, root.certificate)
    assert trust.path(booth.certificate, chain[::-1], Purpose.BOOTH, NOW)[-1] == root.certificate
    assert not accepts(trust, make_signer(lower, chain=(middle.certificate,)))


def test_validity_is_judged_at_the_time_asked_for_at_both_ends(root):
    trust = TrustStore((root.certificate,))
    booth = make_signer(root, start=NOW - timedelta(days=1), end=NOW + timedelta(days=1))
    assert accepts(trust, booth, NOW - timedelta(days=1))
    assert accepts(trust, booth, NOW + timedelta(days=1))
    assert not accepts(trust, booth, NOW - timedelta(days=1, seconds=1))
    assert not accepts(trust, booth, NOW + timedelta(days=1, seconds=1))


def test_only_right_signatures_are_remembered_and_few_of_them(root):
    trust, booth = TrustStore((root.certificate,)), make_signer(root)
    forged = make_signer(root, signed_by=make_authority("root").key)
    _verify.cache_clear()
    for _ in range(3):
        assert accepts(trust, booth)
        assert not accepts(trust, forged)
    told = _verify.cache_info()
    assert (told.hits, told.currsize) == (2, 1)
    assert told.maxsize is not None
    assert told.maxsize * 2 * MAX_CERTIFICATE_BYTES <= 32 * 1024 * 1024
    assert not accepts(TrustStore((make_authority("root").certificate,)), booth)  # remembered for another root
    assert not accepts(trust, booth, NOW + timedelta(days=400))  # only the signature is remembered


def test_an_expired_authority_is_not_believed():
    old = make_authority(end=NOW - timedelta(days=1))
    assert not accepts(TrustStore((old.certificate,)), make_signer(old))


def test_another_authority_of_the_same_name_is_not_believed(root):
    impostor = make_authority("root")
    trust = TrustStore((root.certificate,))
    assert not accepts(trust, make_signer(impostor))
    assert not accepts(trust, make_signer(impostor, chain=(impostor.certificate,)))
    assert not accepts(trust, make_signer(root, signed_by=impostor.key))


def test_two_roots_of_the_same_name_are_both_tried(root):
    second = make_authority("root")
    assert accepts(TrustStore((second.certificate, root.certificate)), make_signer(root))


REASONS = {
    "for the intake": "alone",
    "for booth and intake": "alone",
    "for any purpose": "alone",
    "for no purpose": "does not say",
    "an authority": "signing data only",
    "may issue certificates": "signing data only",
    "may sign revocations": "signing data only",
    "may not sign": "signing data only",
    "a P-256 key": "P-384",
    "an unknown critical extension": "unknown critical",
    "critical name constraints": "unknown critical",
    "signed with SHA-224": "algorithm",
    "no authority": "may not issue certificates",
    "may not issue": "may not issue certificates",
    "for another purpose": "for the purpose",
    "expired": "is valid from",
    "not valid yet": "is valid from",
    "a curve that is not allowed": "kind that is not allowed",
}


WRONG_LEAVES = {
    "for the intake": {"purposes": [Purpose.INTAKE.oid]},
    "for booth and intake": {"purposes": [Purpose.BOOTH.oid, Purpose.INTAKE.oid]},
    "for any purpose": {"purposes": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]},
    "for no purpose": {"purposes": []},
    "an authority": {"ca": True},
    "may issue certificates": {"key_usage": usage(digital_signature=True, key_cert_sign=True)},
    "may sign revocations": {"key_usage": usage(digital_signature=True, crl_sign=True)},
    "may not sign": {"key_usage": usage(key_agreement=True)},
    "a P-256 key": {"curve": ec.SECP256R1()},
    "an unknown critical extension": {
        "extra": [(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]
    },
    "critical name constraints": {
        "extra": [(x509.NameConstraints(permitted_subtrees=[x509.DNSName("x")], excluded_subtrees=None), True)]
    },
    "signed with SHA-224": {"algorithm": hashes.SHA224()},
}


@pytest.mark.parametrize("fault", WRONG_LEAVES)
def test_wrong_signing_certificates_are_refused(root, fault):
    signer = make_signer(root, **WRONG_LEAVES[fault])
    with pytest.raises(CertificateRefusedError, match=REASONS[fault]):
        TrustStore((root.certificate,)).path(signer.certificate, (), Purpose.BOOTH, NOW)


def test_an_unknown_extension_that_is_not_critical_does_no_harm(root):
    extra = [(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)]
    assert accepts(TrustStore((root.certificate,)), make_signer(root, extra=extra))


WRONG_AUTHORITIES = {
    "no authority": {"ca": False},
    "may not issue": {"key_usage": usage(crl_sign=True)},
    "for another purpose": {"purposes": [Purpose.INTAKE.oid]},
    "expired": {"end": NOW - timedelta(days=1)},
    "not valid yet": {"start": NOW + timedelta(days=1)},
    "a curve that is not allowed": {"curve": ec.SECP256K1()},
}


@pytest.mark.parametrize("fault", WRONG_AUTHORITIES)
def test_wrong_intermediate_authorities_are_refused(root, fault):
    middle = make_authority("middle", root, **WRONG_AUTHORITIES[fault])
    with pytest.raises(CertificateRefusedError, match=REASONS[fault]):
        TrustStore((root.certificate,)).path(make_signer(middle).certificate, (middle.certificate,), Purpose.BOOTH, NOW)


def test_the_path_length_of_an_authority_holds():
    root = make_authority(path_length=0)
    middle = make_authority("middle", root)
    trust = TrustStore((root.certificate,))
    assert accepts(trust, make_signer(root))
    assert not accepts(trust, make_signer(middle, chain=(middle.certificate,)))


def test_paths_and_companions_are_limited(root):
    first = make_authority("a", root)
    second = make_authority("b", first)
    third = make_authority("c", second)
    chain = tuple(one.certificate for one in (third, second, first))
    assert not accepts(TrustStore((root.certificate,)), make_signer(third, chain=chain))
    with pytest.raises(CertificateRefusedError, match="More than"):
        TrustStore((root.certificate,)).path(make_signer(root).certificate, chain * 2, Purpose.BOOTH, NOW)


def test_a_key_identifier_of_another_key_is_refused(root):
    other = make_authority("other")
    wrong = x509.AuthorityKeyIdentifier.from_issuer_public_key(other.key.public_key())
    key = ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateBuilder().subject_name(root.certificate.subject).issuer_name(root.certificate.subject)
    certificate = (
        builder.public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([Purpose.BOOTH.oid]), critical=True)
        .add_extension(wrong, critical=False)
        .sign(root.key, hashes.SHA384())
    )
    with pytest.raises(CertificateRefusedError, match="another key"):
        TrustStore((root.certificate,)).path(certificate, (), Purpose.BOOTH, NOW)


def test_only_roots_are_loaded_as_roots(root, tmp_path):
    path = tmp_path / "roots.pem"
    path.write_bytes(root.certificate.public_bytes(PEM) + make_authority("second").certificate.public_bytes(PEM))
    assert len(load_trust(path).roots) == 2
    middle = make_authority("middle", root)
    self_signed = make_authority("nobody", ca=False)
    for wrong in (middle.certificate, make_signer(root).certificate, self_signed.certificate):
        path.write_bytes(root.certificate.public_bytes(PEM) + wrong.public_bytes(PEM))
        with pytest.raises(KeyUnavailableError, match=r"no root|no authority"):
            load_trust(path)
    for wrong_bytes in (
        b"",
        b"text",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        bytes(300_000),
    ):
        path.write_bytes(wrong_bytes)
        with pytest.raises(KeyUnavailableError):
            load_trust(path)
    with pytest.raises(KeyUnavailableError):
        load_trust(tmp_path / "none.pem")


def test_certificates_from_strangers_are_read_strictly(root):
    der = make_signer(root).certificate.public_bytes(serialization.Encoding.DER)
    assert read_certificate(der).public_bytes(serialization.Encoding.DER) == der
    for wrong in (b"", b"\x30\x00", der[:-1], der + b"\x00", bytes(9_000), der[:200] + bytes(50) + der[250:]):
        with pytest.raises(CertificateRefusedError):
            check_leaf(read_certificate(wrong), Purpose.BOOTH)


def test_a_certificate_without_exactly_one_common_name_names_nobody(root):
    certificate = make_signer(root).certificate
    assert common_name(certificate) == BOOTH
    key = ec.generate_private_key(ec.SECP384R1())
    nobody = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(9)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(root.key, hashes.SHA384())
    )
    with pytest.raises(CertificateRefusedError, match="common name"):
        common_name(nobody)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_certificates_are_refused_with_our_own_error_and_without_a_warning(data):
    """The library warns of some faults; warnings fail this test."""
    root, der = signed_once()
    at, size = data.draw(st.integers(0, len(der) - 1)), data.draw(st.integers(0, 3))
    changed = der[:at] + data.draw(st.binary(min_size=1, max_size=3)) + der[at + size :]
    if changed == der:
        return
    with pytest.raises(CertificateRefusedError):
        TrustStore((root.certificate,)).path(read_certificate(changed), (), Purpose.BOOTH, NOW)


def signed_once(made: list[tuple[Authority, bytes]] = []) -> tuple[Authority, bytes]:  # noqa: B006 - made once
    if not made:
        root = make_authority()
        names = [x509.DirectoryName(subject("x")), x509.RFC822Name("a@b"), x509.UniformResourceIdentifier("http://x")]
        signer = make_signer(root, extra=[(x509.SubjectAlternativeName(names), False)], serial=1 << 157)  # 20 octets
        made.append((root, signer.certificate.public_bytes(serialization.Encoding.DER)))
    return made[0]


def test_what_the_library_only_warns_of_is_refused():
    _, der = signed_once()
    serial = der.index(b"\x02\x14") + 2
    negative = der[:serial] + b"\x80" + der[serial + 1 :]
    country = der.replace(
        b"\x06\x03\x55\x04\x03", b"\x06\x03\x55\x04\x06"
    )  # the common name becomes a country of ten letters
    for wrong in (negative, country):
        with pytest.raises(CertificateRefusedError, match="not allowed"):
            read_certificate(wrong)
