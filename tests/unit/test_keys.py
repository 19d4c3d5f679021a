"""The development PKI, signers and recipient keys: what is made, what comes back from files, and what is refused."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from crypto.errors import CertificateRefusedError, KeyUnavailableError
from crypto.keys import (
    Purpose,
    RecipientKey,
    RecipientPublicKey,
    common_name,
    generate_recipient_key,
    load_recipient_key,
    load_recipient_public_key,
    load_trust,
    make_development_pki,
    open_signer,
)
from tests.packets import BOOTH

PEM = serialization.Encoding.PEM
FILES = {
    *("ca.pem", "ca.key", "ca.crl", "booth.pem", "booth.key", "intake.pem", "intake.key"),
    *(
        "intake-tls.pem",
        "intake-tls.key",
        "desk-tls.pem",
        "desk-tls.key",
        "desk.hpke",
        "desk.hpke.pub",
        "desk.secret",
        ".lock",
    ),
    *("centre.pem", "centre.key", "centres.pem", "staff.pem", "staff.key", "desk.pem", "desk.key"),
    *("producer.pem", "producer.key", "producer.hpke"),
    *("producers/producer-development/ca.pem", "producers/producer-development/producer.hpke.pub"),
}


@pytest.fixture
def pki(tmp_path):
    return make_development_pki(tmp_path / "pki")


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the development PKI


def test_the_first_start_makes_every_file_and_keeps_the_private_ones_private(pki):
    assert set(contents(pki)) == FILES
    for folder in (pki, *(path for path in pki.rglob("*") if path.is_dir())):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in map(pki.joinpath, FILES):
        private = path.suffix in {".key", ".hpke", ".secret"}
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == (0 if private or path.name == ".lock" else 0o044), path


def test_private_files_are_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        pki = make_development_pki(tmp_path / "pki")
    finally:
        os.umask(before)
    assert stat.S_IMODE(pki.stat().st_mode) == 0o700
    assert stat.S_IMODE((pki / "booth.key").stat().st_mode) == 0o600


def test_a_second_start_changes_nothing(pki):
    before = contents(pki)
    assert make_development_pki(pki) == pki
    assert contents(pki) == before


def test_two_processes_that_start_at_once_agree(tmp_path):
    folder = tmp_path / "pki"
    program = (
        "import sys; from pathlib import Path; from crypto.keys import make_development_pki, open_signer, load_trust, Purpose;"
        "from datetime import datetime, UTC; p = make_development_pki(Path(sys.argv[1])); s = open_signer(f'file:{p}/booth.key');"
        "load_trust(p / 'ca.pem').path(s.certificate, (), Purpose.BOOTH, datetime.now(UTC)); print(s.certificate.serial_number)"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = [run.communicate(timeout=60)[0] for run in runs]
    assert all(run.returncode == 0 for run in runs)
    assert len(set(answers)) == 1


def test_a_certificate_whose_key_is_lost_is_issued_again_by_the_same_authority(pki):
    before = contents(pki)
    (pki / "intake.key").unlink()
    make_development_pki(pki)
    after = contents(pki)
    assert {name for name in FILES if before[name] != after[name]} == {"intake.key", "intake.pem"}
    open_signer(f"file:{pki}/intake.key")


def test_a_certificate_in_its_last_month_is_renewed_and_old_signatures_stay_valid(tmp_path):
    made = datetime.now(UTC) - timedelta(days=380)
    pki = make_development_pki(tmp_path / "pki", at=made)
    old = open_signer(f"file:{pki}/booth.key").certificate
    make_development_pki(pki)
    new = open_signer(f"file:{pki}/booth.key").certificate
    assert new != old
    assert load_trust(pki / "ca.pem").path(old, (), Purpose.BOOTH, made)[0] == old


def test_another_booth_does_not_take_over_the_folder(pki):
    with pytest.raises(KeyUnavailableError, match="booth-0001"):
        make_development_pki(pki, booth="booth-0002")


def test_a_folder_without_its_authority_is_not_filled_up(pki):
    (pki / "ca.pem").unlink()
    with pytest.raises(KeyUnavailableError, match="authority"):
        make_development_pki(pki)


def test_a_folder_that_others_can_read_is_not_used(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    make_development_pki(folder)  # empty: closed and used
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    with pytest.raises(KeyUnavailableError, match="0700"):
        make_development_pki(folder)


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyUnavailableError, match="cannot be made"):
        make_development_pki(tmp_path / "file" / "pki")


def test_the_purposes_are_kept_apart(pki):
    trust, now = load_trust(pki / "ca.pem"), datetime.now(UTC)
    booth, intake = open_signer(f"file:{pki}/booth.key").certificate, open_signer(f"file:{pki}/intake.key").certificate
    assert common_name(booth) == BOOTH
    trust.path(booth, (), Purpose.BOOTH, now)
    trust.path(intake, (), Purpose.INTAKE, now)
    for certificate, purpose in ((booth, Purpose.INTAKE), (intake, Purpose.BOOTH)):
        with pytest.raises(CertificateRefusedError, match="purpose"):
            trust.path(certificate, (), purpose, now)
    for name in ("intake-tls", "desk-tls"):
        tls = open_signer(f"file:{pki}/{name}.key").certificate
        for purpose in Purpose:
            with pytest.raises(CertificateRefusedError):
                trust.path(tls, (), purpose, now)


def test_the_tls_certificates_name_the_loopback(pki):
    for name in ("intake-tls.pem", "desk-tls.pem"):
        certificate = x509.load_pem_x509_certificate((pki / name).read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost"]
        assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
        assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
            ExtendedKeyUsageOID.SERVER_AUTH
        ]


# --- signers


def test_a_signer_signs_what_its_certificate_verifies_and_shows_no_key(pki):
    signer = open_signer(f"file:{pki}/booth.pem")
    signer.certificate.public_key().verify(signer.sign(b"data"), b"data", ec.ECDSA(hashes.SHA384()))
    assert "PrivateKey" not in repr(signer)


def test_an_encrypted_key_needs_its_passphrase(pki):
    key = serialization.load_pem_private_key((pki / "booth.key").read_bytes(), None)
    locked = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"open"))
    (pki / "booth.key").write_bytes(locked)
    open_signer(f"file:{pki}/booth.key", b"open").sign(b"x")
    for wrong in (None, b"shut"):
        with pytest.raises(KeyUnavailableError, match="passphrase"):
            open_signer(f"file:{pki}/booth.key", wrong)


@pytest.mark.parametrize("uri", ["pkcs12:token=booth", "booth.key", "file:", "file://elsewhere/booth.key", ""])
def test_an_unknown_key_uri_is_refused(uri):
    with pytest.raises(KeyUnavailableError, match="names no signing key"):
        open_signer(uri)


def test_a_pin_in_a_key_uri_is_not_repeated():
    with pytest.raises(KeyUnavailableError) as caught:
        open_signer("pkcs11:token=booth?pin-value=1234")
    assert "1234" not in str(caught.value)


def test_unusable_key_files_are_told_apart(pki, tmp_path):
    with pytest.raises(KeyUnavailableError, match="cannot be read"):
        open_signer(f"file:{tmp_path}/none.key")
    (pki / "booth.key").chmod(0o640)
    with pytest.raises(KeyUnavailableError, match="0600"):
        open_signer(f"file:{pki}/booth.key")
    (pki / "booth.key").chmod(0o600)
    (pki / "booth.key").write_bytes((pki / "intake.key").read_bytes())
    with pytest.raises(KeyUnavailableError, match="does not belong"):
        open_signer(f"file:{pki}/booth.key")
    (pki / "booth.key").write_bytes(b"not a key")
    with pytest.raises(KeyUnavailableError, match="no PEM key"):
        open_signer(f"file:{pki}/booth.key")
    small = ec.generate_private_key(ec.SECP256R1())
    (pki / "booth.key").write_bytes(
        small.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(KeyUnavailableError, match="P-384"):
        open_signer(f"file:{pki}/booth.key")
    (pki / "booth.pem").write_bytes(b"nothing")
    with pytest.raises(KeyUnavailableError, match="no certificates"):
        open_signer(f"file:{pki}/booth.key")


# --- recipients


def test_the_hybrid_key_is_expanded_as_the_x_wing_draft_says():
    """First vector of draft-connolly-cfrg-xwing-kem-08, appendix C: the ends of its public key."""
    key = RecipientKey(bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"))
    raw = key.public.raw
    assert len(raw) == 1216
    assert raw[:32].hex() == "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5"
    assert raw[-32:].hex() == "859edb06eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534"
    assert key.key_id == hashlib.sha256(raw).hexdigest()[:32]


def test_recipient_keys_come_back_from_their_files(tmp_path):
    key = generate_recipient_key()
    private, public = tmp_path / "k.hpke", tmp_path / "k.hpke.pub"
    private.write_bytes(key.to_pem())
    private.chmod(0o600)
    public.write_bytes(key.public.to_pem())
    assert load_recipient_key(private) == key
    assert load_recipient_public_key(public) == key.public
    sealed = load_recipient_public_key(public).encrypt(b"secret", b"info")
    assert load_recipient_key(private).decrypt(sealed, b"info") == b"secret"
    assert load_recipient_key(private).decrypt(sealed, b"other") is None
    assert key.seed.hex() not in repr(key)


def test_broken_recipient_files_are_refused(tmp_path):
    path = tmp_path / "k"
    key = generate_recipient_key()
    good = key.to_pem()
    for data in (b"", good[:-10], good.replace(b"PRIVATE", b"PUBLIC"), good.replace(b"\n", b"\n!", 1), b"\xff" * 100):
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(KeyUnavailableError):
            load_recipient_key(path)
    path.write_bytes(good)
    path.chmod(0o644)
    with pytest.raises(KeyUnavailableError, match="0600"):
        load_recipient_key(path)
    with pytest.raises(KeyUnavailableError, match="cannot be read"):
        load_recipient_public_key(tmp_path / "none")
    with pytest.raises(KeyUnavailableError):
        load_recipient_key(tmp_path / "none")


def test_broken_public_keys_are_refused_when_they_are_loaded():
    raw = generate_recipient_key().public.raw
    for broken in (raw[:-1], raw + b"\x00", b"\xff" * len(raw)):
        with pytest.raises(KeyUnavailableError):
            RecipientPublicKey(broken)
    with pytest.raises(KeyUnavailableError):
        RecipientKey(b"short")
