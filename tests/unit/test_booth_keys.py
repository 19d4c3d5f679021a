"""A booth's keys and certificate, in files and in a token: made, certified, exchanged, and usable after a kill at any moment."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import crypto.token as token_room
from crypto.enrolment import MAX_CHAIN_BYTES, open_booth_keys, read_chain
from crypto.errors import EnrolmentError, KeyUnavailableError
from crypto.issuance import Issuer, Profile, issue, make_root, read_csr
from crypto.key_places import TokenKey
from crypto.keys import SignerSource, load_key, make_development_pki, open_signer
from crypto.token_module import module_at
from crypto.trust import TrustStore
from tests.token_rig import MODULE, PIN, TokenStore

PEM = serialization.Encoding.PEM
NOW = datetime.now(UTC).replace(microsecond=0)
BOOTH = "booth-0001"
PROJECT = Path(__file__).resolve().parents[2]
KILLS = 100


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = TokenStore(tmp_path_factory.mktemp("softhsm"))
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ |= made.environment
    yield made
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture(scope="module")
def root() -> Issuer:
    return make_root("root", "Passbooth", NOW - timedelta(days=400), 4000)


@pytest.fixture
def trust(root):
    return TrustStore((root.certificate,))


@pytest.fixture(params=["file", "encrypted", "token"])
def place(request, tmp_path):
    """Arguments of open_booth_keys after the booth's name."""
    if request.param == "file":
        return f"file:{tmp_path}/booth.key", (lambda: None), None
    if request.param == "encrypted":
        return f"file:{tmp_path}/booth.key", (lambda: b"open sesame"), tmp_path / "certificate.pem"
    store = request.getfixturevalue("store")
    label = f"b{abs(hash(request.node.name)) % 10**9}"
    store.add(label)
    module_at(MODULE).start_anew()  # sees the new token
    return store.uri(label), (lambda: PIN), tmp_path / "booth.pem"


@pytest.fixture
def keys(place):
    opened = open_booth_keys(BOOTH, *place)
    yield opened
    opened.close()


def issued(root, request, *, identity=BOOTH, profile=Profile.BOOTH, at=NOW, days=397):
    asked = read_csr(request)
    return issue(root, asked.public_key, identity, profile, at, days=days).public_bytes(PEM)


def signs(place) -> None:
    """A signer opened now signs what the certificate on disk verifies."""
    source = SignerSource(*place)
    signer = source.current()
    signer.certificate.public_key().verify(signer.sign(b"x"), b"x", ec.ECDSA(hashes.SHA384()))
    source.close()


def test_from_the_first_key_to_the_next_certificate(keys, place, root, trust):
    with pytest.raises(EnrolmentError, match="booth keys init"):
        keys.request()
    assert keys.present() is None
    request = keys.make()
    assert read_csr(request).identity == BOOTH
    assert read_csr(keys.request()).public_key == read_csr(keys.make()).public_key == read_csr(request).public_key
    assert keys.waits()
    first = keys.install(issued(root, request), trust, NOW)
    assert keys.present() == first
    assert not keys.waits()
    signs(place)
    following = keys.make()
    assert read_csr(following).public_key != first.public_key()
    assert keys.waits()
    signs(place)  # still with the first
    assert open_signer(place[0], place[1](), place[2]).certificate == first
    second = keys.install(issued(root, following), trust, NOW)
    assert second.public_key() == read_csr(following).public_key
    assert not keys.waits()
    signs(place)
    again = keys.install(issued(root, keys.request()), trust, NOW)  # a new certificate for the same key
    assert again.public_key() == second.public_key()
    signs(place)


def test_a_running_booth_notices_the_new_pair_and_the_old_signer_stays_good(keys, place, root, trust):
    keys.install(issued(root, keys.make()), trust, NOW)
    source = SignerSource(*place)
    old = source.current()
    assert source.current() is old
    new = keys.install(issued(root, keys.make()), trust, NOW)
    assert source.current().certificate == source.certificate() == new
    for signer in (old, source.current()):
        signer.certificate.public_key().verify(signer.sign(b"x"), b"x", ec.ECDSA(hashes.SHA384()))
    source.close()


def test_a_key_that_waits_can_be_replaced_and_the_present_one_cannot(keys, place, root, trust):
    first = keys.make()
    assert read_csr(keys.make(fresh=True)).public_key != read_csr(first).public_key
    keys.install(issued(root, keys.request()), trust, NOW)
    waiting = keys.make()
    assert read_csr(keys.make(fresh=True)).public_key != read_csr(waiting).public_key
    signs(place)
    keys.install(issued(root, keys.request()), trust, NOW)
    signs(place)


def test_what_is_not_right_is_not_installed_and_says_what_to_do(keys, place, root, trust):
    keys.install(issued(root, keys.make()), trust, NOW)
    before = keys.certificate.read_bytes()
    request = keys.make()
    stranger = make_root("stranger", "Else", NOW - timedelta(days=1), 100)
    foreign = issue(root, ec.generate_private_key(ec.SECP384R1()).public_key(), BOOTH, Profile.BOOTH, NOW)
    for pem, words in (
        (foreign.public_bytes(PEM), "another key"),
        (issued(root, request, identity="booth-0002"), "booth.id is booth-0001"),
        (issued(root, request, profile=Profile.INTAKE), "purpose"),
        (issued(root, request, at=NOW + timedelta(days=2)), "set the clock"),
        (issued(root, request, at=NOW - timedelta(days=30), days=10), "set the clock"),
        (issued(stranger, request), "intake.trust"),
        (b"nothing", "no certificate"),
        (b"", "no certificate"),
        (issued(root, request) * 5, "5 certificates"),
        (b" " * (MAX_CHAIN_BYTES + 1), "too large"),
    ):
        with pytest.raises(EnrolmentError, match=words):
            keys.install(pem, trust, NOW)
    assert keys.certificate.read_bytes() == before
    signs(place)
    with_root = issued(root, request) + root.certificate.public_bytes(PEM)
    keys.install(with_root, trust, NOW)
    assert len(read_chain(keys.certificate.read_bytes())) == 1, "the root is not kept"
    signs(place)


# --- files


def test_key_files_are_private_and_encrypted_when_there_is_a_passphrase(tmp_path, root, trust):
    keys = open_booth_keys(BOOTH, f"file:{tmp_path}/booth.key", lambda: b"open sesame", None)
    keys.make()
    assert stat.S_IMODE((tmp_path / "booth.key").stat().st_mode) == 0o600
    assert b"ENCRYPTED" in (tmp_path / "booth.key").read_bytes()
    load_key(tmp_path / "booth.key", b"open sesame")
    with pytest.raises(KeyUnavailableError, match="passphrase"):
        open_booth_keys(BOOTH, f"file:{tmp_path}/booth.key", lambda: None, None).make()


def test_a_folder_that_is_missing_is_one_sentence(tmp_path):
    with pytest.raises(KeyUnavailableError, match="cannot be changed"):
        open_booth_keys(BOOTH, f"file:{tmp_path}/none/booth.key", lambda: None, None).make()


# --- the token


@pytest.fixture
def place_in_token(store, tmp_path, request):
    label = f"t{abs(hash(request.node.name)) % 10**9}"
    store.add(label)
    module_at(MODULE).start_anew()
    return store.uri(label), (lambda: PIN), tmp_path / "booth.pem"


def test_old_keys_are_removed_from_the_token_when_the_next_one_is_made(place_in_token, root, trust):
    keys = open_booth_keys(BOOTH, *place_in_token)
    for _ in range(4):
        keys.install(issued(root, keys.make()), trust, NOW)
    assert len(keys.place.token.names()) == 2  # the present one, and the one before
    keys.close()


def test_a_key_of_another_tool_is_used_and_never_removed(place_in_token, root, trust):
    keys = open_booth_keys(BOOTH, *place_in_token)
    keys.place.token.generate(token_room.KeyName(b"\x77", "booth"))
    keys.install(issued(root, keys.request()), trust, NOW)
    for _ in range(3):
        keys.install(issued(root, keys.make()), trust, NOW)
    assert b"\x77" in {name.key_id for name in keys.place.token.names()}
    keys.close()


def test_a_key_in_a_token_signs_requests_and_shows_nothing(place_in_token):
    keys = open_booth_keys(BOOTH, *place_in_token)
    keys.make()
    key = keys.place.waiting(None)
    assert isinstance(key, TokenKey)
    for ask in (
        key.private_numbers,
        lambda: key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        lambda: key.exchange(ec.ECDH(), key.public_key()),
        lambda: key.sign(b"x", ec.ECDSA(hashes.SHA256())),
    ):
        with pytest.raises(KeyUnavailableError):
            ask()
    keys.close()


def test_an_address_that_names_one_id_cannot_be_rotated(store, place_in_token, root, trust):
    uri = place_in_token[0].replace("object=booth", "object=booth;id=%01")
    keys = open_booth_keys(BOOTH, uri, *place_in_token[1:])
    keys.install(issued(root, keys.make()), trust, NOW)
    with pytest.raises(EnrolmentError, match="take id="):
        keys.make()
    keys.close()


def test_damaged_notes_are_told(place_in_token):
    keys = open_booth_keys(BOOTH, *place_in_token)
    for text in ("", "{}", '{"made": 1, "waiting": null}', '{"made": ["zz"], "waiting": null}', "[]"):
        keys.place.notes.write_text(text)
        with pytest.raises(KeyUnavailableError, match="damaged"):
            keys.make()
    keys.close()


# --- kill -9

LOOP = """
import os, random, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from crypto.enrolment import open_booth_keys
from crypto.issuance import Issuer, Profile, issue, read_csr
from crypto.keys import SignerSource, load_key
from crypto.trust import load_certificates, load_trust

uri, pin, pem, pki, kills = sys.argv[1], sys.argv[2].encode() or None, Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
trust = load_trust(pki / "ca.pem")
root = Issuer(trust.roots[0], load_key(pki / "ca.key", None))

def rotate(keys):
    asked = read_csr(keys.make())
    leaf = issue(root, asked.public_key, asked.identity, Profile.BOOTH, datetime.now(UTC))
    keys.install(leaf.public_bytes(serialization.Encoding.PEM), trust, datetime.now(UTC))

def rotate_for_ever(ready):
    keys = open_booth_keys("booth-0001", uri, lambda: pin, pem)
    rotate(keys)
    os.write(ready, b"1")
    while True:
        rotate(keys)

def sign_and_rotate():
    source = SignerSource(uri, lambda: pin, pem)
    signer = source.current()  # before anything is put in order
    signer.certificate.public_key().verify(signer.sign(b"x"), b"x", ec.ECDSA(hashes.SHA384()))
    source.close()
    keys = open_booth_keys("booth-0001", uri, lambda: pin, pem)
    rotate(keys)
    os.write(1, str(signer.certificate.serial_number).encode() + b"\\n")

def in_child(work, *arguments):
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child

chance = random.Random(7)
for _ in range(kills):
    reading, writing = os.pipe()
    child = in_child(rotate_for_ever, writing)
    os.close(writing)
    assert os.read(reading, 1) == b"1"
    os.close(reading)
    time.sleep(chance.random() * 0.06)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert os.waitpid(in_child(sign_and_rotate), 0)[1] == 0
"""


def kill_again_and_again(uri, pin, pem, pki, kills) -> list[bytes]:
    done = subprocess.run(
        [sys.executable, "-c", LOOP, uri, pin, str(pem), str(pki), str(kills)],
        cwd=PROJECT,
        capture_output=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout.split()


def test_a_hundred_kills_during_rotation_always_leave_a_usable_pair(tmp_path):
    pki = make_development_pki(tmp_path / "pki")
    serials = kill_again_and_again(f"file:{tmp_path}/booth.key", "", tmp_path / "booth.pem", pki, KILLS)
    assert len(set(serials)) == KILLS


def test_kills_during_rotation_in_a_token_always_leave_a_usable_pair(store, tmp_path):
    pki = make_development_pki(tmp_path / "pki")
    store.add("killed")
    kills = 20
    serials = kill_again_and_again(store.uri("killed"), PIN.decode(), tmp_path / "booth.pem", pki, kills)
    assert len(set(serials)) == kills
    notes = json.loads((tmp_path / "booth.keys.json").read_text())
    assert len(notes["made"]) <= 3
