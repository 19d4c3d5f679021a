"""Making certificates and reading requests: the profile that is written, what is believed of a request, what is refused."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.der import BIT_STRING, SEQUENCE, element
from crypto.errors import EnrolmentError, KeyUnavailableError
from crypto.issuance import Issuer, Profile, Revoked, issue, make_crl, make_root, read_csr
from crypto.keys import Purpose, TrustStore, common_name
from crypto.private_key import private_pem
from crypto.revocation import read_revocation_list

NOW = datetime(2026, 11, 23, 9, 30, 15, 250_000, tzinfo=UTC)
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER


@pytest.fixture(scope="module")
def root() -> Issuer:
    return make_root("Passbooth test authority", "Interior", NOW, 3650)


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def request(key, *names: str, algorithm=None, extensions=()) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    chosen = None if isinstance(key, ed25519.Ed25519PrivateKey) else algorithm or hashes.SHA384()
    return builder.sign(key, chosen).public_bytes(PEM)


# --- the profile


@pytest.mark.parametrize("profile", [Profile.BOOTH, Profile.INTAKE, Profile.DESK, Profile.PRODUCER])
def test_a_leaf_is_believed_for_its_purpose_and_no_other(root, key, profile):
    leaf = issue(root, key.public_key(), "booth-0001", profile, NOW)
    trust = TrustStore((root.certificate,))
    assert trust.path(leaf, (), Purpose(profile.value), NOW) == (leaf, root.certificate)
    assert common_name(leaf) == "booth-0001"
    assert leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "Interior"
    assert leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).critical
    assert leaf.not_valid_after_utc == NOW.replace(microsecond=0) + timedelta(days=397)
    assert leaf.not_valid_before_utc == NOW.replace(microsecond=0) - timedelta(hours=1)
    for other in set(Purpose) - {Purpose(profile.value)}:
        with pytest.raises(Exception, match="purpose"):
            trust.path(leaf, (), other, NOW)


def test_a_tls_leaf_carries_its_names_and_may_only_serve(root, key):
    leaf = issue(
        root, key.public_key(), "intake.example.org", Profile.TLS, NOW, names=("Intake.example.org", "10.0.0.7", "::1")
    )
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["intake.example.org"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "::1"]
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    for purpose in Purpose:
        with pytest.raises(Exception, match="purpose"):
            TrustStore((root.certificate,)).path(leaf, (), purpose, NOW)


def test_critical_extensions_and_key_identifiers_are_as_the_profile_says(root, key):
    leaf = issue(root, key.public_key(), "booth-0001", Profile.BOOTH, NOW)
    for certificate, ca in ((root.certificate, True), (leaf, False)):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert constraints.critical
        assert usage.critical
        assert constraints.value.ca is ca
        assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (ca, ca, not ca)
        named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert named == root.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        assert isinstance(certificate.signature_hash_algorithm, hashes.SHA384)
    assert root.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    serials = {issue(root, key.public_key(), "b", Profile.BOOTH, NOW).serial_number for _ in range(50)}
    assert len(serials) == 50
    assert max(serials).bit_length() > 128  # 159 random bits


def test_no_leaf_outlives_its_authority(key):
    root = make_root("short", "Interior", NOW, 100)
    leaf = issue(root, key.public_key(), "booth-0001", Profile.BOOTH, NOW + timedelta(days=50))
    assert leaf.not_valid_after_utc == root.certificate.not_valid_after_utc
    early = issue(root, key.public_key(), "booth-0001", Profile.BOOTH, NOW)
    assert early.not_valid_before_utc == root.certificate.not_valid_before_utc
    with pytest.raises(EnrolmentError, match="has ended"):
        issue(root, key.public_key(), "booth-0001", Profile.BOOTH, NOW + timedelta(days=100))


@pytest.mark.parametrize(
    ("profile", "names"),
    [
        (Profile.TLS, ()),
        (Profile.BOOTH, ("x.example",)),
        (Profile.TLS, ("x",) * 17),
        *(
            (Profile.TLS, (wrong,))
            for wrong in ("", "a b", "-x", "x.", "ä.example", "x..y", "a" * 64, "1.2.3.4/8", "*")
        ),
    ],
)
def test_wrong_names_for_tls_are_refused(root, key, profile, names):
    with pytest.raises(EnrolmentError, match="TLS"):
        issue(root, key.public_key(), "x", profile, NOW, names=names)


@pytest.mark.parametrize("identity", ["", "a" * 65, "a b", ".a", "a\n", "ä", "a/b", "a,CN=b"])
def test_wrong_identities_are_refused(root, key, identity):
    with pytest.raises(EnrolmentError, match="A name has"):
        issue(root, key.public_key(), identity, Profile.BOOTH, NOW)


def test_private_keys_are_pkcs8_and_open_with_their_passphrase_only(key, tmp_path):
    assert serialization.load_pem_private_key(private_pem(key), None).private_numbers() == key.private_numbers()
    sealed = private_pem(key, b"correct horse")
    assert sealed != private_pem(key, b"correct horse")  # salt and IV are new each time
    assert serialization.load_pem_private_key(sealed, b"correct horse").private_numbers() == key.private_numbers()
    for wrong in (b"wrong", b"correct horse ", None):
        with pytest.raises((ValueError, TypeError)):
            serialization.load_pem_private_key(sealed, wrong)
    with pytest.raises(KeyUnavailableError, match="protects nothing"):
        private_pem(key, b"")


def test_openssl_opens_an_encrypted_key_and_finds_scrypt(key, tmp_path):
    (tmp_path / "a.key").write_bytes(private_pem(key, b"correct horse"))
    words = ["openssl", "pkey", "-in", tmp_path / "a.key", "-passin", "pass:correct horse", "-pubout"]
    told = subprocess.run(words, capture_output=True, timeout=30, check=True)
    assert serialization.load_pem_public_key(told.stdout) == key.public_key()
    parsed = subprocess.run(
        ["openssl", "asn1parse", "-in", tmp_path / "a.key"], capture_output=True, timeout=30, check=True
    )
    assert b"scrypt" in parsed.stdout
    assert b"aes-256-cbc" in parsed.stdout


# --- lists


def test_a_list_says_what_was_revoked_in_whole_seconds_and_leaves_out_no_reason(root):
    flags = x509.ReasonFlags
    revoked = [
        Revoked(9, NOW, flags.superseded),
        Revoked(3, NOW - timedelta(days=1)),
        Revoked(7, NOW, flags.key_compromise),
    ]
    made = read_revocation_list(make_crl(root, 12, revoked, NOW, NOW + timedelta(days=7)), [root.certificate])
    assert (made.number, made.issued_at) == (12, NOW.replace(microsecond=0))
    assert list(made.entries) == [3, 7, 9]
    assert made.entries[7].reason is flags.key_compromise
    assert made.entries[3].reason is flags.unspecified
    assert made.entries[9].since == NOW.replace(microsecond=0)


# --- requests


def test_of_a_request_only_key_and_name_are_believed(root, key):
    wishes = (
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.SubjectAlternativeName([x509.DNSName("bank.example")]), False),
        (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
    )
    asked = read_csr(request(key, "booth-0001", extensions=wishes))
    assert asked.identity == "booth-0001"
    assert asked.public_key == key.public_key()
    leaf = issue(root, asked.public_key, asked.identity, Profile.BOOTH, NOW)
    assert TrustStore((root.certificate,)).path(leaf, (), Purpose.BOOTH, NOW)
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_requests_by_openssl_are_read_and_ours_verify_with_openssl(key, tmp_path):
    (tmp_path / "ours.csr").write_bytes(request(key, "booth-0001"))
    told = subprocess.run(
        ["openssl", "req", "-verify", "-noout", "-in", tmp_path / "ours.csr"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "verify OK" in told.stdout + told.stderr
    new = ["-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", tmp_path / "booth.key"]
    subprocess.run(
        ["openssl", "req", *new, "-subj", "/O=x/CN=booth-0002", "-out", tmp_path / "booth.csr"],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert read_csr((tmp_path / "booth.csr").read_bytes()).identity == "booth-0002"


def test_openssl_finds_nothing_wrong_with_our_certificates(root, key, tmp_path):
    now = datetime.now(UTC)
    fresh = make_root("fresh", "Interior", now, 30)
    leaf = issue(fresh, key.public_key(), "x.example", Profile.TLS, now, names=("x.example",))
    crl = x509.load_der_x509_crl(make_crl(fresh, 1, [], now, now + timedelta(days=7)))
    for name, data in (("ca.pem", fresh.certificate), ("leaf.pem", leaf), ("crl.pem", crl)):
        (tmp_path / name).write_bytes(data.public_bytes(PEM))
    files = ["-CAfile", tmp_path / "ca.pem", "-CRLfile", tmp_path / "crl.pem"]
    strict = ["-x509_strict", "-crl_check_all", "-purpose", "sslserver", "-verify_hostname", "x.example"]
    subprocess.run(
        ["openssl", "verify", *files, *strict, tmp_path / "leaf.pem"], capture_output=True, timeout=30, check=True
    )


def test_wrong_requests_are_refused(key):
    good = request(key, "booth-0001")
    wrong = {
        "nothing": b"",
        "text": b"please",
        "too long": good + b"\n" * 9000,
        "two": good * 2,
        "text before": b"x\n" + good,
        "a certificate": good.replace(b"CERTIFICATE REQUEST", b"CERTIFICATE"),
        "broken base64": good.replace(b"M", b"=", 1),
        "cut": good[:60] + good[64:],
        "no name": request(key),
        "two names": request(key, "booth-0001", "booth-0002"),
        "not a name": request(key, "../booth"),
        "P-256": request(ec.generate_private_key(ec.SECP256R1()), "booth-0001"),
        "P-521": request(ec.generate_private_key(ec.SECP521R1()), "booth-0001"),
        "RSA": request(rsa.generate_private_key(65537, 2048), "booth-0001"),
        "Ed25519": request(ed25519.Ed25519PrivateKey.generate(), "booth-0001"),
        "SHA-224": request(key, "booth-0001", algorithm=hashes.SHA224()),
        "another's key": foreign(key),
    }
    for name, pem in wrong.items():
        with pytest.raises(EnrolmentError):
            pytest.fail(f"{name}: {read_csr(pem)}")


def foreign(key) -> bytes:
    """A request for somebody else's key, signed with an own one."""
    parsed = x509.load_pem_x509_csr(request(key, "booth-0001"))
    body = parsed.tbs_certrequest_bytes
    signature = ec.generate_private_key(ec.SECP384R1()).sign(body, ec.ECDSA(hashes.SHA384()))
    algorithm = element(SEQUENCE, b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03")
    der = element(SEQUENCE, body, algorithm, element(BIT_STRING, b"\0" + signature))
    return x509.load_der_x509_csr(der).public_bytes(PEM)


@given(st.data())
@settings(max_examples=400)
def test_mutated_requests_are_refused_with_our_own_error_and_without_a_warning(data):
    key, der = requested_once()
    body = x509.load_der_x509_csr(der).tbs_certrequest_bytes
    at, size = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 3))
    changed = body[:at] + data.draw(st.binary(min_size=1, max_size=3)) + body[at + size :]
    signature = key.sign(changed, ec.ECDSA(hashes.SHA384()))  # well signed: only what it says may be wrong
    algorithm = element(SEQUENCE, b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03")
    try:
        asked = read_csr(armour(element(SEQUENCE, changed, algorithm, element(BIT_STRING, b"\0" + signature))))
    except EnrolmentError:
        return
    assert asked.public_key == key.public_key()


def armour(der: bytes) -> bytes:
    import base64

    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE REQUEST-----\n"


def requested_once(made: list[tuple[ec.EllipticCurvePrivateKey, bytes]] = []):  # noqa: B006 - made once
    if not made:
        key = ec.generate_private_key(ec.SECP384R1())
        wish = (x509.SubjectAlternativeName([x509.DNSName("x.example")]), False)
        made.append((key, x509.load_pem_x509_csr(request(key, "booth-0001", extensions=(wish,))).public_bytes(DER)))
    return made[0]
