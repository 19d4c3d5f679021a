"""The certificate authority in its folder: tokens, issuing, renewal, revocation, several processes, what a crash leaves."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import NameOID

from crypto.enrolment_token import ALPHABET, read_token
from crypto.errors import CertificateRevokedError
from crypto.issuance import Issuer, Profile, Revoked, make_crl
from crypto.keys import Purpose, load_trust, make_development_pki
from crypto.trust import load_certificates
from server.authority import init_authority, open_authority, read_passphrase
from server.enrolment_token import make_token
from server.errors import (
    AuthorityError,
    CsrRefusedError,
    EnrolmentRefusedError,
    EnrolmentUnavailableError,
    SettingsError,
)

PASSPHRASE = b"correct horse battery"
BOOTH = "booth-0001"
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "ca"


@pytest.fixture
def authority(folder, clock):
    return init_authority(folder, "Test authority", "Interior", None, now=clock)


def request(booth: str = BOOTH, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, booth)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key or ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()).public_bytes(PEM)


def leaf_of(chain: bytes) -> x509.Certificate:
    (leaf,) = x509.load_pem_x509_certificates(chain)
    return leaf


def trust_of(folder):
    return load_trust(folder / "ca.pem", folder / "ca.crl")


# --- the folder


def test_a_new_authority_has_a_root_an_encrypted_key_and_an_empty_list(folder, clock):
    made = init_authority(folder, "Test authority", "Interior", PASSPHRASE, now=clock)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"ca.pem": 0o644, "ca.crl": 0o644, "ca.key": 0o600, "authority.sqlite3": 0o600, ".lock": 0o600}
    assert b"ENCRYPTED" in (folder / "ca.key").read_bytes()
    assert trust_of(folder).crls[0].entries == {}
    assert open_authority(folder, PASSPHRASE).certificate == made.certificate
    for wrong in (None, b"wrong horse battery"):
        with pytest.raises(SettingsError, match="passphrase"):
            open_authority(folder, wrong)


def test_an_authority_is_never_replaced(authority, folder):
    before = (folder / "ca.key").read_bytes()
    with pytest.raises(AuthorityError, match="never replaced"):
        init_authority(folder, "Another", "Interior", None)
    assert (folder / "ca.key").read_bytes() == before


def test_a_key_without_its_certificate_is_made_again(authority, folder):
    (folder / "ca.pem").unlink()
    (folder / "ca.crl").unlink()
    (folder / "authority.sqlite3").unlink()
    init_authority(folder, "Again", "Interior", None)
    assert open_authority(folder).certificate.subject.rfc4514_string() == "CN=Again,O=Interior"


def test_folders_that_cannot_be_used_are_one_clear_sentence(authority, folder, tmp_path):
    with pytest.raises(SettingsError, match="no authority"):
        open_authority(tmp_path / "none")
    (folder / "ca.key").chmod(0o640)
    with pytest.raises(SettingsError, match="0600"):
        open_authority(folder)
    other = init_authority(tmp_path / "other", "Other", "Interior", None)
    (folder / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    (folder / "ca.key").chmod(0o600)
    with pytest.raises(SettingsError, match="not the key"):
        open_authority(folder)
    assert other.crl()
    (folder / "ca.key").write_bytes(b"text")
    with pytest.raises(SettingsError, match="broken"):
        open_authority(folder)
    with pytest.raises(SettingsError, match="cannot be made"):
        init_authority(tmp_path / "other" / "ca.pem" / "x", "x", "x", None)
    with pytest.raises(AuthorityError, match="1 to 64"):
        init_authority(tmp_path / "third", "", "Interior", None)


def test_records_that_cannot_be_read_make_the_authority_unavailable_not_wrong(authority, folder):
    (folder / "authority.sqlite3").write_bytes(b"text" * 1000)
    with pytest.raises(EnrolmentUnavailableError) as told:
        authority.issue(request(), Profile.BOOTH, BOOTH)
    assert isinstance(told.value.__cause__, sqlite3.DatabaseError)
    (folder / "authority.sqlite3").unlink()
    with sqlite3.connect(folder / "authority.sqlite3") as later:
        later.execute("PRAGMA user_version = 2")
    later.close()
    with pytest.raises(EnrolmentUnavailableError):
        open_authority(folder)


def test_passphrase_files_are_private_and_long_enough(tmp_path):
    path = tmp_path / "pass"
    path.write_bytes(PASSPHRASE + b"\r\nsecond line")
    with pytest.raises(SettingsError, match="0600"):
        read_passphrase(path)
    path.chmod(0o600)
    assert read_passphrase(path) == PASSPHRASE
    path.write_bytes(b"short\n")
    with pytest.raises(SettingsError, match="shorter than 12"):
        read_passphrase(path)
    with pytest.raises(SettingsError):
        read_passphrase(tmp_path / "none")


# --- issuing


def test_an_issued_certificate_is_believed_and_remembered(authority, folder, clock):
    chain = authority.issue(request(), Profile.BOOTH, BOOTH)
    leaf = leaf_of(chain)
    assert trust_of(folder).path(leaf, (), Purpose.BOOTH, clock.now)
    (one,) = authority.certificates()
    assert (one.serial, one.identity, one.profile, one.reason) == (leaf.serial_number, BOOTH, Profile.BOOTH, None)
    assert (one.issued_at, one.not_after) == (clock.now, leaf.not_valid_after_utc)


def test_requests_that_cannot_be_used_are_refused(authority):
    key = ec.generate_private_key(ec.SECP384R1())
    authority.issue(request(BOOTH, key), Profile.BOOTH, BOOTH)
    authority.issue(request(BOOTH, key), Profile.BOOTH, BOOTH)  # the same key for the same name
    for pem, profile, identity in (
        (b"text", Profile.BOOTH, BOOTH),
        (request("booth-0002"), Profile.BOOTH, BOOTH),
        (request("booth-0002", key), Profile.BOOTH, "booth-0002"),
        (request(BOOTH, key), Profile.INTAKE, BOOTH),
        (request("tls"), Profile.TLS, "tls"),  # without names
    ):
        with pytest.raises(CsrRefusedError):
            authority.issue(pem, profile, identity)
    assert len(authority.certificates()) == 2


def test_a_revoked_key_never_comes_back(authority):
    key = ec.generate_private_key(ec.SECP384R1())
    authority.issue(request(BOOTH, key), Profile.BOOTH, BOOTH)
    authority.revoke(BOOTH, ReasonFlags.superseded)
    token = authority.make_token(BOOTH)
    with pytest.raises(CsrRefusedError, match="make a new key"):
        authority.issue_for_token(token, request(BOOTH, key))
    assert leaf_of(authority.issue_for_token(token, request()))  # the refusal has not used the token


# --- tokens


def test_a_token_enrols_one_booth_once(authority):
    token = authority.make_token(BOOTH)
    with pytest.raises(EnrolmentRefusedError) as other:
        authority.issue_for_token(token, request("booth-0002"))
    with pytest.raises(CsrRefusedError):
        authority.issue_for_token(token, b"text")
    assert leaf_of(authority.issue_for_token(token, request()))
    with pytest.raises(EnrolmentRefusedError) as used:
        authority.issue_for_token(token, request())
    with pytest.raises(EnrolmentRefusedError) as unknown:
        authority.issue_for_token(make_token(), request())
    with pytest.raises(EnrolmentRefusedError) as none:
        authority.issue_for_token("what?", request())
    assert len({str(one.value) for one in (other, used, unknown, none)}) == 1
    assert len(authority.certificates()) == 1


def test_a_token_ends(authority, clock):
    token = authority.make_token(BOOTH, timedelta(hours=2))
    clock.now += timedelta(hours=2)
    with pytest.raises(EnrolmentRefusedError):
        authority.issue_for_token(token, request())
    for wrong in (timedelta(0), timedelta(days=-1), timedelta(days=31)):
        with pytest.raises(AuthorityError, match="30 days"):
            authority.make_token(BOOTH, wrong)
    with pytest.raises(AuthorityError, match="A name has"):
        authority.make_token("../booth")


def test_tokens_are_stored_as_digests_and_forgotten_long_after_their_end(authority, folder, clock):
    tokens = [authority.make_token(BOOTH) for _ in range(3)]
    stored = (folder / "authority.sqlite3").read_bytes()
    for token in tokens:
        assert token.encode() not in stored
        assert token.replace("-", "").encode() not in stored
    clock.now += timedelta(days=40)
    authority.make_token(BOOTH)
    with sqlite3.connect(folder / "authority.sqlite3") as rows:
        assert rows.execute("SELECT count(*) FROM tokens").fetchone() == (1,)
    rows.close()


def test_tokens_have_a_hundred_random_bits_and_are_read_forgivingly():
    tokens = {make_token() for _ in range(200)}
    assert len(tokens) == 200
    assert set("".join(tokens)) == {*ALPHABET, "-"}
    assert len(ALPHABET) == 32
    one = "0OIL1-23456-789AB-CDEFG"
    assert read_token(one) == "0011123456789ABCDEFG"
    for same in (one.lower(), one.replace("-", " "), one.replace("-", ""), f"  {one}\n"):
        assert read_token(same) == read_token(one)
    for wrong in ("", "0", one + "0", one[:-1], one.replace("G", "U"), one.replace("G", "é"), one * 50, "-" * 20):
        assert read_token(wrong) is None


def test_of_many_at_once_one_gets_the_certificate(authority, folder):
    """Several threads, each with an authority of its own, as several intake processes have."""
    token, pem = authority.make_token(BOOTH), request()

    def enrol(_: int) -> bool:
        try:
            return bool(open_authority(folder).issue_for_token(token, pem))
        except EnrolmentRefusedError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(enrol, range(16))) == 1
    assert len(authority.certificates()) == 1


# --- renewal


def test_a_booth_renews_with_its_present_certificate(authority, clock):
    first = leaf_of(authority.issue(request(), Profile.BOOTH, BOOTH))
    clock.now += timedelta(days=370)
    second = leaf_of(authority.renew(BOOTH, request(), first.serial_number))
    assert second.not_valid_after_utc > first.not_valid_after_utc
    assert len(authority.certificates()) == 2


def test_renewal_needs_a_good_certificate_of_that_booth(authority, clock):
    mine = leaf_of(authority.issue(request(), Profile.BOOTH, BOOTH)).serial_number
    theirs = leaf_of(authority.issue(request("booth-0002"), Profile.BOOTH, "booth-0002")).serial_number
    intake = leaf_of(authority.issue(request("intake"), Profile.INTAKE, "intake")).serial_number
    for booth, pem, serial in (
        (BOOTH, request(), theirs),
        (BOOTH, request(), 12345),
        ("intake", request("intake"), intake),
    ):
        with pytest.raises(EnrolmentRefusedError):
            authority.renew(booth, pem, serial)
    with pytest.raises(CsrRefusedError):
        authority.renew(BOOTH, request("booth-0002"), mine)
    authority.revoke(mine, ReasonFlags.superseded)
    with pytest.raises(EnrolmentRefusedError, match="revoked or expired"):
        authority.renew(BOOTH, request(), mine)
    clock.now += timedelta(days=400)
    with pytest.raises(EnrolmentRefusedError, match="revoked or expired"):
        authority.renew("booth-0002", request("booth-0002"), theirs)
    assert len(authority.certificates()) == 3


# --- revocation


def test_revocation_stands_in_the_list_at_once(authority, folder, clock):
    leaf = leaf_of(authority.issue(request(), Profile.BOOTH, BOOTH))
    other = leaf_of(authority.issue(request("booth-0002"), Profile.BOOTH, "booth-0002"))
    clock.now += timedelta(days=1)
    (one,) = authority.revoke(BOOTH, ReasonFlags.key_compromise)
    assert (one.serial, one.revoked_at, one.reason) == (leaf.serial_number, clock.now, ReasonFlags.key_compromise)
    trust = trust_of(folder)
    assert (folder / "ca.crl").read_bytes() == authority.crl()
    with pytest.raises(CertificateRevokedError):
        trust.path(leaf, (), Purpose.BOOTH, NOW)
    assert trust.path(other, (), Purpose.BOOTH, clock.now)


def test_a_name_stands_for_all_its_certificates_also_expired_ones(authority, clock):
    serials = {leaf_of(authority.issue(request(), Profile.BOOTH, BOOTH)).serial_number for _ in range(3)}
    clock.now += timedelta(days=500)
    assert {one.serial for one in authority.revoke(BOOTH, ReasonFlags.key_compromise)} == serials
    assert set(authority.current_list().entries) == serials


def test_a_serial_number_is_a_number_or_hex_digits(authority):
    for write in (
        lambda n: n,
        lambda n: f"{n:x}",
        lambda n: f"{n:040X}",
        lambda n: bytes.fromhex(f"{n:040x}").hex(":"),
    ):
        serial = leaf_of(authority.issue(request(), Profile.BOOTH, BOOTH)).serial_number
        assert [one.serial for one in authority.revoke(write(serial), ReasonFlags.superseded)] == [serial]
    for wrong in (1, "1", "booth-0009", "", "xyz"):
        with pytest.raises(AuthorityError, match="No certificate"):
            authority.revoke(wrong, ReasonFlags.superseded)


def test_a_name_that_looks_like_a_serial_number_is_not_guessed(authority):
    serial = leaf_of(authority.issue(request(), Profile.BOOTH, BOOTH)).serial_number
    name = f"{serial:x}"
    authority.issue(request(name), Profile.BOOTH, name)
    with pytest.raises(AuthorityError, match="both a name and a serial number"):
        authority.revoke(name, ReasonFlags.superseded)
    text = f"{serial:040x}"
    (one,) = authority.revoke(":".join(text[at : at + 2] for at in range(0, 40, 2)), ReasonFlags.superseded)
    assert one.identity == BOOTH


def test_a_graver_reason_replaces_a_lesser_one_and_never_the_other_way(authority, clock):
    serial = leaf_of(authority.issue(request(), Profile.BOOTH, BOOTH)).serial_number
    authority.revoke(serial, ReasonFlags.superseded)
    first = clock.now
    clock.now += timedelta(days=3)
    with pytest.raises(AuthorityError, match="already"):
        authority.revoke(serial, ReasonFlags.cessation_of_operation)
    authority.revoke(serial, ReasonFlags.key_compromise)
    with pytest.raises(AuthorityError, match="already"):
        authority.revoke(BOOTH, ReasonFlags.superseded)
    entry = authority.current_list().entries[serial]
    assert (entry.reason, entry.since) == (ReasonFlags.key_compromise, first)


def test_the_list_is_renewed_in_the_second_half_of_its_life(authority, clock):
    first = authority.crl()
    clock.now += timedelta(days=3)
    assert authority.crl() == first
    clock.now += timedelta(days=1)
    assert authority.crl() != first
    assert authority.current_list().next_update_at == clock.now + timedelta(days=7)
    assert authority.renew_crl(30).next_update_at == clock.now + timedelta(days=30)
    assert authority.current_list().number == 3


# --- crashes, backups, development keys


def test_a_list_that_was_not_written_is_written_by_the_next_piece_of_work(authority, folder):
    leaf = leaf_of(authority.issue(request(), Profile.BOOTH, BOOTH))
    older = (folder / "ca.crl").read_bytes()
    authority.revoke(BOOTH, ReasonFlags.superseded)
    newer = (folder / "ca.crl").read_bytes()
    for left in (older, b"", newer[:-1], None):
        (folder / "ca.crl").unlink()
        if left is not None:
            (folder / "ca.crl").write_bytes(left)
        open_authority(folder)
        assert (folder / "ca.crl").read_bytes() == newer
    assert leaf.serial_number in trust_of(folder).crls[0].entries


def test_records_from_a_backup_do_not_forget_what_the_list_names(authority, folder):
    authority.issue(request(), Profile.BOOTH, BOOTH)
    backup = (folder / "authority.sqlite3").read_bytes()
    later = leaf_of(authority.issue(request("booth-0002"), Profile.BOOTH, "booth-0002"))
    authority.revoke("booth-0002", ReasonFlags.key_compromise)
    number = authority.current_list().number
    (folder / "authority.sqlite3").write_bytes(backup)
    authority.revoke(BOOTH, ReasonFlags.superseded)
    after = authority.current_list()
    assert after.number == number + 1
    assert len(after.entries) == 2
    assert after.entries[later.serial_number].reason is ReasonFlags.key_compromise


def test_a_certificate_that_a_restore_lost_is_known_again_by_its_file(authority, folder):
    backup = (folder / "authority.sqlite3").read_bytes()
    chain = authority.issue(request(), Profile.BOOTH, BOOTH)
    (folder / "authority.sqlite3").write_bytes(backup)
    with pytest.raises(AuthorityError, match="No certificate"):
        authority.revoke(BOOTH, ReasonFlags.key_compromise)
    (folder / "found.pem").write_bytes(chain)
    assert len(authority.revoke(BOOTH, ReasonFlags.key_compromise)) == 1


def test_lost_records_with_a_foreign_list_are_not_guessed(authority, folder, tmp_path):
    stranger = init_authority(tmp_path / "other", "Test authority", "Interior", None)
    (folder / "authority.sqlite3").unlink()
    (folder / "ca.crl").write_bytes(stranger.crl())
    with pytest.raises(SettingsError, match="not the list of this authority"):
        open_authority(folder)


def test_development_keys_are_an_authority_too(tmp_path):
    folder = make_development_pki(tmp_path / "pki")
    authority = open_authority(folder)
    names = {(one.identity, one.profile) for one in authority.certificates()}
    assert names == {
        (BOOTH, Profile.BOOTH),
        ("intake-development", Profile.INTAKE),
        ("intake-on-loopback", Profile.TLS),
        ("desk-on-loopback", Profile.TLS),
        ("centre-development", Profile.CENTRE),
        ("staff-development", Profile.STAFF),
        ("desk-development", Profile.DESK),
        ("producer-development", Profile.PRODUCER),
    }
    authority.revoke(BOOTH, ReasonFlags.key_compromise)
    make_development_pki(folder)
    revoked = load_certificates(folder / "booth.pem")[0]
    with pytest.raises(CertificateRevokedError):
        trust_of(folder).path(revoked, (), Purpose.BOOTH, datetime.now(UTC))
    make_development_pki(folder, at=datetime.now(UTC) + timedelta(days=25))  # its list is old: a new one
    assert revoked.serial_number in trust_of(folder).crls[0].entries
    assert leaf_of(authority.issue_for_token(authority.make_token(BOOTH), request()))
    assert revoked.serial_number in authority.current_list().entries


def test_a_real_authoritys_folder_is_no_development_folder(folder, clock):
    from crypto.errors import KeyUnavailableError

    init_authority(folder, "Test authority", "Interior", PASSPHRASE, now=clock)
    with pytest.raises(KeyUnavailableError, match="not the key that was made here"):
        make_development_pki(folder)


def test_a_newer_list_of_the_same_authority_is_taken_over(authority, folder, clock):
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    issuer = Issuer(authority.certificate, key)
    entry = Revoked(4711, clock.now, ReasonFlags.superseded)
    (folder / "ca.crl").write_bytes(make_crl(issuer, 40, [entry], clock.now, clock.now + timedelta(days=7)))
    assert authority.current_list().number == 40
    assert set(authority.renew_crl().entries) == {4711}
    assert authority.current_list().number == 41


def test_openssl_verifies_what_the_authority_issues_and_refuses_what_it_revoked(tmp_path):
    folder = tmp_path / "ca"
    authority = init_authority(folder, "Test authority", "Interior", None)
    (tmp_path / "booth.pem").write_bytes(authority.issue(request(), Profile.BOOTH, BOOTH))
    assert verify(tmp_path).returncode == 0
    authority.revoke(BOOTH, ReasonFlags.privilege_withdrawn)
    told = verify(tmp_path)
    assert told.returncode == 2
    assert "certificate revoked" in told.stderr


def verify(folder) -> subprocess.CompletedProcess[str]:
    crl = x509.load_der_x509_crl((folder / "ca" / "ca.crl").read_bytes())
    (folder / "crl.pem").write_bytes(crl.public_bytes(PEM))
    files = ["-CAfile", folder / "ca" / "ca.pem", "-CRLfile", folder / "crl.pem", "-crl_check", "-purpose", "any"]
    return subprocess.run(
        ["openssl", "verify", *files, folder / "booth.pem"], capture_output=True, text=True, timeout=30, check=False
    )


def test_the_intake_side_imports_no_validation():
    program = (
        "import sys, server.authority; sys.exit(any(n.partition('.')[0] in ('cv2', 'validation') for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
