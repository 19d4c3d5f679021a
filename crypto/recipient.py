"""Recipients of sealed packets: hybrid keys ML-KEM-768 with X25519, the suites of sealed packets, and the content key of several.

Key forms follow the concrete hybrid KEM "MLKEM768-X25519" (X-Wing; draft-connolly-cfrg-xwing-kem-08, HPKE KEM id 0x647a):
the private key is a seed of 32 bytes, SHAKE256(seed, 96 bytes) gives the ML-KEM-768 seed (64) and the X25519 key (32);
the public key is the ML-KEM-768 encapsulation key (1184) followed by the X25519 key (32). The test holds the draft's vector.

A key's id is the first 32 hex digits of the SHA-256 of the raw public key. Files are PEM with an own label, because no
registered form for such a key exists yet.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.errors import KeyUnavailableError
from crypto.key_folder import read_file

SUITE = "hpke-mlkem768-x25519-hkdf-sha256-aes-256-gcm"
SHARED_SUITE = f"{SUITE}+aes-256-gcm"  # several recipients: the body under a content key that HPKE wraps for each
ENCAPSULATION_BYTES = 1_120  # ML-KEM-768 ciphertext 1088 + X25519 key 32
TAG_BYTES = 16  # AES-GCM
OVERHEAD_BYTES = ENCAPSULATION_BYTES + TAG_BYTES
CONTENT_KEY_BYTES = 32
WRAP_BYTES = CONTENT_KEY_BYTES + OVERHEAD_BYTES
SEED_BYTES = 32
_MLKEM_SEED_BYTES, _MLKEM_PUBLIC_BYTES, _X25519_BYTES = 64, 1_184, 32
PUBLIC_BYTES = _MLKEM_PUBLIC_BYTES + _X25519_BYTES
KEY_ID_DIGITS = 32
_PRIVATE_LABEL, _PUBLIC_LABEL = "PASSBOOTH MLKEM768-X25519 PRIVATE KEY", "PASSBOOTH MLKEM768-X25519 PUBLIC KEY"
_MAX_FILE_BYTES = 8_192
_NONCE = bytes(12)
_COMMITMENT_LABEL = b"passbooth content key"


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class RecipientPublicKey:
    """Whom a packet is sealed for. All a booth needs to know of the back office."""

    raw: bytes
    key_id: str = field(init=False)
    _key: hpke.MLKEM768X25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_BYTES:
            raise KeyUnavailableError(f"A recipient's public key has {PUBLIC_BYTES} bytes, not {len(self.raw)}.")
        lattice, curve = self.raw[:_MLKEM_PUBLIC_BYTES], self.raw[_MLKEM_PUBLIC_BYTES:]
        try:
            point = x25519.X25519PublicKey.from_public_bytes(curve)
            x25519.X25519PrivateKey.generate().exchange(point)  # nothing can be sealed for a point of small order
            key = hpke.MLKEM768X25519PublicKey(mlkem.MLKEM768PublicKey.from_public_bytes(lattice), point)
        except ValueError as err:  # told when the key is loaded, not when a visit is sealed
            raise KeyUnavailableError("A recipient's public key is broken: ask the back office for it again.") from err
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "key_id", hashlib.sha256(self.raw).hexdigest()[:KEY_ID_DIGITS])

    def encrypt(self, plaintext: bytes, info: bytes) -> bytes:
        """HPKE, base mode, single shot: encapsulation, ciphertext, tag."""
        return _suite().encrypt(plaintext, self._key, info)

    def to_pem(self) -> bytes:
        """The key as a text file."""
        return _armour(_PUBLIC_LABEL, self.raw)


@dataclass(frozen=True, slots=True, repr=False)
class RecipientKey:
    """The back office's private key. Its seed is never shown."""

    seed: bytes
    public: RecipientPublicKey = field(init=False, compare=False)
    _key: hpke.MLKEM768X25519PrivateKey = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise KeyUnavailableError(f"A recipient's private key is a seed of {SEED_BYTES} bytes.")
        expanded = hashlib.shake_256(self.seed).digest(_MLKEM_SEED_BYTES + _X25519_BYTES)
        lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        curve = x25519.X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        raw = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        object.__setattr__(self, "_key", hpke.MLKEM768X25519PrivateKey(lattice, curve))
        object.__setattr__(self, "public", RecipientPublicKey(raw))

    def __repr__(self) -> str:
        return f"RecipientKey({self.key_id})"

    @property
    def key_id(self) -> str:
        """Tells the key in headers and manifests."""
        return self.public.key_id

    def decrypt(self, ciphertext: memoryview | bytes, info: bytes) -> bytes | None:
        """The plaintext, or None when key, info or any byte is not the right one."""
        try:
            return _suite().decrypt(ciphertext, self._key, info)
        except (InvalidTag, ValueError):
            return None

    def to_pem(self) -> bytes:
        """The key as a text file, not encrypted: keep it 0600."""
        return _armour(_PRIVATE_LABEL, self.seed)


@dataclass(frozen=True, slots=True, repr=False)
class ContentKey:
    """The key of one body for several recipients, used once: that is why its nonce may be zero."""

    raw: bytes

    @property
    def commitment(self) -> str:
        """Tells this key from every other: AES-GCM alone decrypts one body under two keys that are made for it."""
        return hashlib.sha256(_COMMITMENT_LABEL + self.raw).hexdigest()

    def encrypt(self, plaintext: bytes, associated: bytes) -> bytes:
        """AES-256-GCM: ciphertext, tag."""
        return AESGCM(self.raw).encrypt(_NONCE, plaintext, associated)

    def decrypt(self, ciphertext: memoryview | bytes, associated: bytes) -> bytes | None:
        """The plaintext, or None when any byte is not the right one."""
        try:
            return AESGCM(self.raw).decrypt(_NONCE, ciphertext, associated)
        except (InvalidTag, ValueError):
            return None


def generate_content_key() -> ContentKey:
    """A new content key from the system's randomness."""
    return ContentKey(secrets.token_bytes(CONTENT_KEY_BYTES))


def generate_recipient_key() -> RecipientKey:
    """A new key from the system's randomness."""
    return RecipientKey(secrets.token_bytes(SEED_BYTES))


def load_recipient_key(path: Path) -> RecipientKey:
    """The private key in a file that only its owner may read."""
    check_private_file(path)
    return RecipientKey(_disarm(path, _PRIVATE_LABEL))


def load_recipient_public_key(path: Path) -> RecipientPublicKey:
    """The public key in a file."""
    return RecipientPublicKey(_disarm(path, _PUBLIC_LABEL))


def check_private_file(path: Path) -> None:
    """That a private key's file cannot be read by others."""
    try:
        mode = path.stat().st_mode
    except OSError as err:
        raise KeyUnavailableError(f"The key {path} cannot be read: {err.strerror}.") from err
    if stat.S_IMODE(mode) & 0o077:
        raise KeyUnavailableError(f"The key {path} can be read by others: make it 0600 (chmod 600), or replace it.")


def _armour(label: str, raw: bytes) -> bytes:
    text = base64.b64encode(raw).decode("ascii")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode("ascii")


def _disarm(path: Path, label: str) -> bytes:
    try:
        text = read_file(path, _MAX_FILE_BYTES)
    except OSError as err:
        raise KeyUnavailableError(f"The key {path} cannot be read: {err.strerror}.") from err
    lines = text.split()
    begin, end = f"-----BEGIN {label}-----".encode().split(), f"-----END {label}-----".encode().split()
    body = lines[len(begin) : -len(end)]
    if lines[: len(begin)] != begin or lines[-len(end) :] != end:
        raise KeyUnavailableError(f"{path} does not hold a {label}.")
    try:
        return base64.b64decode(b"".join(body), validate=True)
    except binascii.Error as err:
        raise KeyUnavailableError(f"The key in {path} is broken.") from err
