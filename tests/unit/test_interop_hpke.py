"""The seal against others: pyhpke for a classical suite, published vectors and hpke-js for the hybrid, and a reader by hand from the page alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import struct
from pathlib import Path

import pyhpke
import pytest
from cryptography.hazmat.bindings._rust import openssl as rust
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.recipient import RecipientKey, RecipientPublicKey
from crypto.seal import HeaderFields, open_packet, seal
from crypto.trust import load_trust
from tests.vectors.bad_seals import both, genuine
from tests.vectors.make_vectors import FOLDER, HEADER_FIELDS, INDEX, NODE_MODULES, SECOND_VECTORS, ask_second
from tests.vectors.parties import DESK, MADE_AT, RECIPIENTS

MAGIC = bytes.fromhex("8950424f4f54480d0a1a0a")
PUBLISHED = json.loads((FOLDER / "hpke_pq.json").read_text(encoding="utf-8"))
GOOD = [case for case in json.loads(INDEX.read_text(encoding="utf-8")) if not case["stage"]]
FIELDS = HeaderFields(packet_id=HEADER_FIELDS["packet_id"], booth=HEADER_FIELDS["booth"], created_at=MADE_AT)


# --- a classical suite: the same call of the same library, read by pyhpke


def framed(header: dict[str, object]) -> bytes:
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return MAGIC + struct.pack(">I", len(text)) + text


@pytest.fixture(scope="module")
def classical():
    """Our library's suite, pyhpke's, one key for both."""
    ours = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    theirs = pyhpke.CipherSuite.new(
        pyhpke.KEMId.DHKEM_X25519_HKDF_SHA256, pyhpke.KDFId.HKDF_SHA256, pyhpke.AEADId.AES256_GCM
    )
    key = x25519.X25519PrivateKey.from_private_bytes(hashlib.sha256(b"classical").digest())
    info = framed(HEADER_FIELDS | {"version": 1, "suite": "classical", "recipient_key_id": "0" * 32})
    return ours, theirs, key, info


def test_pyhpke_opens_what_our_hpke_call_makes(classical):
    ours, theirs, key, info = classical
    cms = genuine()
    sealed = ours.encrypt(cms, key.public_key(), info)
    assert len(sealed) == 32 + len(cms) + 16
    secret = pyhpke.KEMKey.from_pyca_cryptography_key(key)
    assert theirs.create_recipient_context(sealed[:32], secret, info=info).open(sealed[32:]) == cms
    with pytest.raises(pyhpke.OpenError):
        theirs.create_recipient_context(sealed[:32], secret, info=info + b" ").open(sealed[32:])


def test_our_hpke_call_opens_what_pyhpke_makes(classical):
    ours, theirs, key, info = classical
    public = pyhpke.KEMKey.from_pyca_cryptography_key(key.public_key())
    encapsulation, sender = theirs.create_sender_context(public, info=info)
    assert ours.decrypt(encapsulation + sender.seal(b"made by pyhpke"), key, info) == b"made by pyhpke"


# --- the hybrid: published vectors


def published(name: str) -> bytes:
    return bytes.fromhex(PUBLISHED[name])


def test_the_library_opens_the_published_vector_of_the_hybrid():
    key = RecipientKey(published("skRm"))
    assert key.public.raw[:32] == published("pkRm_first_32")
    assert key.public.raw[-32:] == published("pkRm_last_32")
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    sealed = published("enc") + published("ct")
    # The public call has no associated data, which the published encryption has.
    opened = rust.hpke._decrypt_with_aad(suite, sealed, key._key, published("info"), published("aad"))
    assert opened == published("pt")


# --- a reader by hand: X-Wing and the key schedule from their documents, on bare primitives


def shared_secret(seed: bytes, encapsulation: bytes) -> bytes:
    """X-Wing decapsulation (draft-connolly-cfrg-xwing-kem, 5.4 and 5.3)."""
    expanded = hashlib.shake_256(seed).digest(96)
    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    curve = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
    ciphertext, point = encapsulation[:1088], encapsulation[1088:]
    own = curve.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    first = lattice.decapsulate(ciphertext)
    second = curve.exchange(x25519.X25519PublicKey.from_public_bytes(point))
    return hashlib.sha3_256(first + second + point + own + b"\\.//^\\").digest()


def key_and_nonce(secret: bytes, info: bytes, *, aead: int) -> tuple[bytes, bytes]:
    """The key schedule of RFC 9180, 5.1, base mode, HKDF-SHA256."""
    suite = b"HPKE" + struct.pack(">HHH", 0x647A, 0x0001, aead)

    def extract(salt: bytes, label: bytes, material: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")

    def expand(pseudo_random: bytes, label: bytes, context: bytes, length: int) -> bytes:
        labelled = struct.pack(">H", length) + b"HPKE-v1" + suite + label + context
        return hmac.digest(pseudo_random, labelled + b"\x01", "sha256")[:length]

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    pseudo_random = extract(secret, b"secret", b"")
    return expand(pseudo_random, b"key", context, 32), expand(pseudo_random, b"base_nonce", context, 12)


def hpke_open(seed: bytes, sealed: bytes, info: bytes) -> bytes:
    key, nonce = key_and_nonce(shared_secret(seed, sealed[:1120]), info, aead=0x0002)
    return AESGCM(key).decrypt(nonce, sealed[1120:], b"")


def open_by_hand(packet: bytes, seed: bytes, key_id: str) -> bytes:
    """The signed package in a sealed packet, with nothing of the project."""
    (length,) = struct.unpack(">I", packet[11:15])
    before, body = packet[: 15 + length], packet[15 + length :]
    header = json.loads(before[15:])
    assert framed(header) == before
    if header["version"] == 1:
        assert header["recipient_key_id"] == key_id
        return hpke_open(seed, body, before)
    prefix = framed(header | {"recipients": [{"key_id": one["key_id"]} for one in header["recipients"]]})
    (wrap,) = (one["wrap"] for one in header["recipients"] if one["key_id"] == key_id)
    content_key = hpke_open(seed, base64.urlsafe_b64decode(wrap + "=" * (-len(wrap) % 4)), prefix)
    assert hashlib.sha256(b"passbooth content key" + content_key).hexdigest() == header["commitment"]
    return AESGCM(content_key).decrypt(bytes(12), body, before)


def test_the_reader_by_hand_agrees_with_the_published_vector():
    secret = shared_secret(published("skRm"), published("enc"))
    assert secret == published("shared_secret")
    assert key_and_nonce(secret, published("info"), aead=0x0003) == (published("key"), published("base_nonce"))


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["id"])
def test_the_reader_by_hand_opens_every_good_packet(case):
    packet, key = (FOLDER / case["file"]).read_bytes(), RECIPIENTS[case["key"]]
    opened = open_packet(packet, [key], load_trust(FOLDER / "keys/ca.pem"))
    assert open_by_hand(packet, key.seed, key.key_id) == opened.cms


# --- hpke-js: what it made and we committed


def test_we_open_what_the_second_implementation_sealed():
    made = json.loads(SECOND_VECTORS.read_text(encoding="utf-8"))
    alone = {name: bytes.fromhex(made["hpke"][name]) for name in ("info", "plain", "sealed")}
    assert DESK.decrypt(alone["sealed"], alone["info"]) == alone["plain"]
    trust = load_trust(FOLDER / "keys/ca.pem", FOLDER / "keys/ca.crl")
    for name, count in (("one", 1), ("three", 3)):
        for key in list(RECIPIENTS.values())[:count]:
            opened = open_packet(bytes.fromhex(made["packets"][name]), [key], trust)
            assert opened.manifest.packet_id == HEADER_FIELDS["packet_id"]


# --- hpke-js, live


@pytest.fixture
def modules() -> str:
    folder = os.environ.get(NODE_MODULES)
    if not folder:
        pytest.skip(f"{NODE_MODULES} names no node_modules folder (tests/vectors/make_second_hpke.mjs says how)")
    assert (Path(folder) / "@hpke" / "hybridkem-x-wing").is_dir()
    return folder


def test_the_second_implementation_live_hpke_alone(modules):
    key, info = RECIPIENTS["second"], b"some info"
    public = bytes.fromhex(ask_second(modules, do="public", seed=key.seed.hex())["public"])
    assert public == key.public.raw
    ours = RecipientPublicKey(public).encrypt(b"ours", info)
    asked = {"seed": key.seed.hex(), "info": info.hex(), "sealed": ours.hex()}
    assert bytes.fromhex(ask_second(modules, do="open", **asked)["plain"]) == b"ours"
    theirs = ask_second(modules, do="seal", public=public.hex(), info=info.hex(), plain=b"theirs".hex())
    assert key.decrypt(bytes.fromhex(theirs["sealed"]), info) == b"theirs"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_second_implementation_live_whole_packets(modules, count):
    keys = list(RECIPIENTS.values())[:count]
    cms = genuine(recipients=both(*keys))
    ours = seal(cms, FIELDS, [key.public for key in keys])
    for key in keys:
        answer = ask_second(modules, do="open_packet", seed=key.seed.hex(), packet=ours.hex())
        assert bytes.fromhex(answer["plain"]) == cms
        assert answer["header"]["booth"] == FIELDS.booth
    asked = {"publics": [key.public.raw.hex() for key in keys], "fields": HEADER_FIELDS, "plain": cms.hex()}
    theirs = bytes.fromhex(ask_second(modules, do="seal_packet", **asked)["packet"])
    trust = load_trust(FOLDER / "keys/ca.pem", FOLDER / "keys/ca.crl")
    assert {open_packet(theirs, [key], trust).cms for key in keys} == {cms}
