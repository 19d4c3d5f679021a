"""Keys in a token: made there, used there, never leaving it; what happens when it is pulled out or the PIN is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, KeyType, MechanismFlag

import crypto.token as rooms
from crypto.cms import sign_content, verify_content
from crypto.errors import KeyUnavailableError, SigningError
from crypto.keys import SignerSource, open_signer
from crypto.token import KeyName, Token, open_token, signer_in
from crypto.token_module import module_at
from crypto.trust import CONTENT_PACKAGE, Purpose, TrustStore
from tests.conftest import open_descriptors
from tests.packets import BOOTH, make_authority, name, usage
from tests.token_rig import MODULE, PIN, TokenStore

NAME = KeyName(b"\x01\x02", "booth")
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = TokenStore(tmp_path_factory.mktemp("softhsm"))
    for label in ("booth", "other", "twin", "twin"):
        made.add(label)
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ |= made.environment
    module_at(MODULE).start_anew()  # another test may have loaded it with its own store
    yield made
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture
def token(store):
    """The booth's token, empty."""
    module_at(MODULE).refused.clear()
    opened = open_token(store.uri("booth"), lambda: PIN, write=True, insist=True)
    for found in opened.names():
        opened.destroy(found.key_id)
    yield opened
    opened.close()


AUTHORITY = make_authority()


def certificate_for(public) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(name(BOOTH)).issuer_name(AUTHORITY.certificate.subject)
    return (
        builder.public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(AUTHORITY.certificate.not_valid_before_utc)
        .not_valid_after(AUTHORITY.certificate.not_valid_after_utc)
        .add_extension(usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([Purpose.BOOTH.oid]), critical=True)
        .sign(AUTHORITY.key, hashes.SHA384())
    )


@pytest.fixture
def certificate(token):
    return certificate_for(token.generate(NAME))


@pytest.fixture
def pem(certificate, tmp_path):
    path = tmp_path / "booth.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_key_in_the_token_signs_what_its_certificate_verifies(store, pem, certificate, token):
    signer = open_signer(store.uri("booth"), PIN, pem)
    assert signer.certificate == certificate
    certificate.public_key().verify(signer.sign(b"data"), b"data", ec.ECDSA(hashes.SHA384()))
    signed = sign_content(b"package", CONTENT_PACKAGE, signer, Purpose.BOOTH, NOW)
    verified = verify_content(signed, CONTENT_PACKAGE, 100, TrustStore((AUTHORITY.certificate,)), Purpose.BOOTH)
    assert verified.signer == certificate
    signer.token.close()


def test_the_private_key_never_leaves_the_token(token, certificate, store):
    key = token._key(NAME)
    with pytest.raises(pkcs11.AttributeSensitive):
        key[Attribute.VALUE]
    assert key[Attribute.SENSITIVE]
    assert not key[Attribute.EXTRACTABLE]
    assert key[Attribute.NEVER_EXTRACTABLE]
    with pytest.raises(pkcs11.PKCS11Error):
        key[Attribute.EXTRACTABLE] = True
    wrapping = token._open().generate_key(KeyType.AES, 256, capabilities=MechanismFlag.WRAP)
    with pytest.raises(pkcs11.PKCS11Error):
        wrapping.wrap_key(key)


def test_a_key_that_could_leave_its_token_is_not_used(token, store, tmp_path):
    session = token._open()
    curve = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: rooms.P384}, local=True)
    public, _ = curve.generate_keypair(
        id=b"\x09",
        label="booth",
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        mechanism=pkcs11.Mechanism.EC_KEY_PAIR_GEN,
        private_template={Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False},
    )
    made = certificate_for(rooms._point(bytes(public[Attribute.EC_POINT])))
    with pytest.raises(KeyUnavailableError, match="could leave it"):
        signer_in(token, [made])


def test_the_key_of_the_certificate_is_found_among_others(token, store, certificate):
    token.generate(KeyName(b"\x03", "booth"))
    assert len(token.names()) == 2
    signer = signer_in(token, [certificate])
    assert signer.name == NAME
    assert token.public_key(NAME) == certificate.public_key()
    foreign = certificate_for(ec.generate_private_key(ec.SECP384R1()).public_key())
    with pytest.raises(KeyUnavailableError, match="No key in the token"):
        signer_in(token, [foreign])
    assert "Private" not in repr(signer)


def test_only_the_named_key_is_looked_at(token, store, certificate, pem):
    by_id = open_token(store.uri("booth", "id=%01%02"), lambda: PIN)
    assert by_id.names() == (NAME,)
    elsewhere = open_token(store.uri("booth", "object=none"), lambda: PIN)
    assert elsewhere.names() == ()
    by_id.close()
    elsewhere.close()


def test_tokens_that_cannot_be_told_apart_or_do_not_exist_are_told(store, pem):
    twin = open_token(store.uri("twin"), lambda: PIN)
    with pytest.raises(KeyUnavailableError, match="add serial="):
        twin.names()
    with pytest.raises(SigningError, match="is not there"):
        open_token(store.uri("nobody"), lambda: PIN).names()
    with pytest.raises(KeyUnavailableError, match="is not there"):
        open_token("pkcs11:token=a;object=b?module-path=/none.so", lambda: PIN).names()
    with pytest.raises(KeyUnavailableError, match="is no PKCS #11 module"):
        open_token(f"pkcs11:token=a;object=b?module-path={os.path.realpath(sys.executable)}", lambda: PIN).names()
    with pytest.raises(KeyUnavailableError, match="certificate"):
        open_signer(store.uri("booth"), PIN)


# --- the PIN


def test_a_wrong_pin_is_given_once_and_never_again_by_itself(token, store, certificate):
    token.close()
    given = []

    class Counting(Token):
        def _log_in(self, found):
            given.append(1)
            return super()._log_in(found)

    wrong = Counting(rooms.read_token_uri(store.uri("booth")), lambda: b"000000")
    for _ in range(5):
        with pytest.raises(KeyUnavailableError, match="refuses the PIN") as caught:
            wrong.names()
        assert "000000" not in str(caught.value)
    assert wrong.state().pin_count_low
    # Also a program that was started again does not try: the token itself remembers. Here with another wrong PIN.
    restarted = open_token(store.uri("booth"), lambda: b"111111")
    for _ in range(5):
        with pytest.raises(KeyUnavailableError, match="none is tried by itself"):
            restarted.names()
    assert not wrong.state().pin_locked
    asked = open_token(store.uri("booth"), lambda: PIN, insist=True)
    asked.log_in()
    assert not asked.state().pin_count_low
    asked.close()
    corrected = open_token(store.uri("booth"), lambda: PIN)
    assert corrected.names() == (NAME,)
    corrected.close()


def test_a_missing_or_unreadable_pin_is_told(token, store, tmp_path):
    token.close()
    with pytest.raises(KeyUnavailableError, match="needs its PIN"):
        open_token(store.uri("booth"), lambda: None).names()
    with pytest.raises(KeyUnavailableError, match="UTF-8"):
        open_token(store.uri("booth"), lambda: b"\xff").names()
    pin = tmp_path / "pin"
    source = store.uri("booth", query=f"&pin-source=file:{pin}")
    with pytest.raises(KeyUnavailableError, match="cannot be read"):
        open_token(source, lambda: None).names()
    pin.write_bytes(PIN + b"\n")
    with pytest.raises(KeyUnavailableError, match="0600"):
        open_token(source, lambda: None).names()
    pin.chmod(0o600)
    opened = open_token(source, lambda: None)
    opened.log_in()
    opened.close()


# --- a token that comes and goes


def test_a_token_that_is_pulled_out_is_used_again_when_it_is_back(token, store, pem):
    token.close()
    source = SignerSource(store.uri("booth"), lambda: PIN, pem)
    signer = source.current()
    away = store.tokens.with_name("away")
    store.tokens.rename(away)
    try:
        for _ in range(3):
            with pytest.raises(SigningError, match="does not answer"):
                signer.sign(b"data")
            with pytest.raises(SigningError):
                source.check()
        assert source.current() is signer
        assert source.certificate() == signer.certificate
    finally:
        away.rename(store.tokens)
    source.check()
    signer.certificate.public_key().verify(signer.sign(b"data"), b"data", ec.ECDSA(hashes.SHA384()))
    source.close()


def test_a_module_that_does_not_start_is_tried_again(store):
    """In a process of its own, whose first start of the module fails."""
    program = (
        "import os, sys; from pathlib import Path; from crypto.errors import SigningError; from crypto.token import open_token\n"
        "token = open_token(sys.argv[1], lambda: None); right = os.environ['SOFTHSM2_CONF']; os.environ['SOFTHSM2_CONF'] = '/none'\n"
        "try: token.state(); sys.exit(3)\n"
        "except SigningError as error: assert 'does not start' in str(error), error\n"
        "os.environ['SOFTHSM2_CONF'] = right; print(token.state().label)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, store.uri("other")],
        env=os.environ | store.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "other\n"), done.stderr


def test_a_source_that_starts_without_its_token_finds_it_later(token, store, pem):
    token.close()
    source = SignerSource(store.uri("booth"), lambda: PIN, pem)
    away = store.tokens.with_name("away")
    store.tokens.rename(away)
    try:
        with pytest.raises(SigningError):
            source.current()
    finally:
        away.rename(store.tokens)
    assert source.current().sign(b"x")
    source.close()


def test_a_session_that_another_one_logged_out_is_opened_again(token, store, pem):
    first, second = (SignerSource(store.uri("booth"), lambda: PIN, pem) for _ in range(2))
    assert first.current().sign(b"1")
    assert second.current().sign(b"2")
    first.close()  # logs this process out of the token
    assert second.current().sign(b"3")
    module_at(MODULE).start_anew()
    assert second.current().sign(b"4")
    second.close()


def test_a_key_that_was_removed_is_told_as_such(token, store, pem):
    source = SignerSource(store.uri("booth"), lambda: PIN, pem)
    signer = source.current()
    token.destroy(NAME.key_id)
    with pytest.raises(KeyUnavailableError, match="does not hold"):
        signer.sign(b"x")
    with pytest.raises(KeyUnavailableError):
        source.check()
    source.close()


def test_another_certificate_on_disk_is_noticed_without_a_restart(token, store, pem):
    source = SignerSource(store.uri("booth"), lambda: PIN, pem)
    old = source.current()
    new = certificate_for(token.generate(KeyName(b"\x05", "booth")))
    replacement = pem.with_suffix(".new")
    replacement.write_bytes(new.public_bytes(serialization.Encoding.PEM))
    replacement.rename(pem)
    assert source.current().certificate == new
    new.public_key().verify(source.current().sign(b"n"), b"n", ec.ECDSA(hashes.SHA384()))
    old.certificate.public_key().verify(old.sign(b"o"), b"o", ec.ECDSA(hashes.SHA384()))  # one that was taken before
    source.close()


def test_many_threads_may_sign_at_once(token, store, pem):
    source = SignerSource(store.uri("booth"), lambda: PIN, pem)
    public = source.current().certificate.public_key()
    faults = []

    def work(number):
        for turn in range(10):
            data = f"{number} {turn}".encode()
            try:
                public.verify(source.current().sign(data), data, ec.ECDSA(hashes.SHA384()))
            except Exception as error:  # noqa: BLE001 - shown by the assertion below
                faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    source.close()


def test_a_token_that_miscalculates_is_not_believed(token, store, certificate):
    other = certificate_for(ec.generate_private_key(ec.SECP384R1()).public_key()).public_key()
    with pytest.raises(SigningError, match="does not verify"):
        token.sign(NAME, bytes(48), other)
    for raw in (b"", bytes(95), bytes(97)):
        with pytest.raises(SigningError, match="signature of"):
            rooms._der(raw)
    with pytest.raises(KeyUnavailableError, match="no point"):
        rooms._point(bytes(97))


def test_many_openings_leave_nothing_open(token, store, pem):
    before = len(open_descriptors())
    for _ in range(30):
        source = SignerSource(store.uri("booth"), lambda: PIN, pem)
        source.current().sign(b"x")
        source.close()
    assert len(open_descriptors()) <= before


def test_an_independent_tool_sees_the_key_and_cannot_read_it(token, store, certificate):
    if shutil.which("pkcs11-tool") is None:
        pytest.skip("needs pkcs11-tool: apt-get install opensc")
    command = ["pkcs11-tool", "--module", str(MODULE), "--token-label", "booth", "--login", "--pin", PIN.decode(), "-O"]
    environment = os.environ | store.environment
    seen = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert seen.returncode == 0, seen.stderr
    assert "sensitive, always sensitive, never extractable, local" in seen.stdout
