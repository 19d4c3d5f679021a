"""The desk's secret: 32 random bytes that no other program has, and the keys that are derived from it, one for each purpose.

What a desk keeps of opened packets lies in the database either under a key of its own (`seal`, AES-256-GCM with a random nonce) or as a keyed hash
(`mac`, HMAC-SHA256), so that the intake, a backup and whoever reads the database learn nothing of it and cannot compare it with what they guess.

Rules: the file is PEM with an own label, 0600, made once and never replaced (`intake pki secret`); keys come from it by HKDF-SHA256 (RFC 5869) with the
purpose as info. A sealed value is bound to its purpose and to the place it stands in (`about`): moved elsewhere it does not open. Random
nonces of 96 bits are good for 2^32 values of one purpose (NIST SP 800-38D section 8.3).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto.errors import KeyUnavailableError
from crypto.key_folder import read_file

SECRET_BYTES = 32
NONCE_BYTES, TAG_BYTES = 12, 16
_BEGIN, _END = "-----BEGIN PASSBOOTH DESK SECRET-----", "-----END PASSBOOTH DESK SECRET-----"
_MAX_FILE_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class DeskSecret:
    """Keyed hashes and sealed values of one desk. The bytes are in no repr."""

    raw: bytes = field(repr=False)

    def mac(self, purpose: str, data: bytes) -> bytes:
        """The keyed hash of `data` for a purpose: 32 bytes."""
        return hmac.digest(self._key(f"mac {purpose}"), data, "sha256")

    def seal(self, purpose: str, plain: bytes, about: bytes) -> bytes:
        """`plain` encrypted for a purpose and a place: nonce, ciphertext, tag."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._key(f"seal {purpose}")).encrypt(nonce, plain, about)

    def open(self, purpose: str, sealed: bytes, about: bytes) -> bytes:
        """What `seal` was given. Raises KeyUnavailableError when it was sealed with another secret, for something else, or changed."""
        if len(sealed) >= NONCE_BYTES + TAG_BYTES:
            try:
                return AESGCM(self._key(f"seal {purpose}")).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
            except InvalidTag:
                pass
        raise KeyUnavailableError("What the desk keeps does not open with its present secret, or was changed.")

    def _key(self, info: str) -> bytes:
        return HKDF(SHA256(), SECRET_BYTES, None, f"passbooth desk {info}".encode()).derive(self.raw)

    def to_pem(self) -> bytes:
        """The file's bytes."""
        return f"{_BEGIN}\n{base64.b64encode(self.raw).decode()}\n{_END}\n".encode()


def generate_desk_secret() -> DeskSecret:
    """A new secret."""
    return DeskSecret(secrets.token_bytes(SECRET_BYTES))


def load_desk_secret(path: Path) -> DeskSecret:
    """The secret in a file that nobody else may read. Raises KeyUnavailableError."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyUnavailableError(f"The desk's secret {path} is readable for others: chmod 600 it.")
        lines = read_file(path, _MAX_FILE_BYTES).decode("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnavailableError(f"The desk's secret {path} cannot be read.") from error
    text = " ".join(lines)
    inner = text.removeprefix(_BEGIN).removesuffix(_END).strip()
    try:
        raw = base64.b64decode(inner, validate=True)
    except binascii.Error as error:
        raise KeyUnavailableError(f"{path} holds no desk's secret: make one with `intake pki secret`.") from error
    if not text.startswith(_BEGIN) or not text.endswith(_END) or len(raw) != SECRET_BYTES:
        raise KeyUnavailableError(f"{path} holds no desk's secret: make one with `intake pki secret`.")
    return DeskSecret(raw)
